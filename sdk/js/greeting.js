import { fromProtocol } from "./errors.js";
import { Socket } from "./socket.js";
import { within } from "./within.js";

const GREETING_MS = 20_000;

/** A connection whose server has taken the first event. Throws ServerError. */
export async function greeted(server, path, WebSocket, { before, event, after }) {
  const socket = await Socket.open(server, path, WebSocket);
  const greet = async () => {
    if (before) await answer(socket, before);
    await socket.send(JSON.stringify(event));
    await answer(socket, after);
  };
  try {
    await within(GREETING_MS, greet(), "the server has not agreed to the session");
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}

async function answer(connection, type) {
  for (;;) {
    const message = await connection.receive();
    if (message.type === type) return;
    if (message.type === "error") throw fromProtocol(message.error);
  }
}
