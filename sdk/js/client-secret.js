import { checkOptions, given } from "./options.js";
import { Server } from "./server.js";

export async function createClientSecret(options) {
  checkOptions(options, ["url", "apiKey", "expiresAfterS", "session"]);
  const { expiresAfterS, session } = options;
  const expires_after = expiresAfterS === undefined ? undefined : { anchor: "created_at", seconds: expiresAfterS };
  const response = await new Server(options).fetch("/v1/realtime/client_secrets", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(given({ expires_after, session })),
  });
  const { value, expires_at } = await response.json();
  return { value, expiresAt: new Date(expires_at * 1000) };
}
