import { DeviceError } from "./errors.js";
import { RATE_HZ } from "./pcm.js";

const STARTING_MS = 1_000;

/** A stream of a device of the user's. `name` is what the user calls it. Throws DeviceError. */
export async function deviceStream(name, constraints) {
  if (!navigator.mediaDevices) {
    throw new DeviceError(`a ${name} is only for pages of https:// or of this machine`, "insecure_context");
  }
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    throw unusable(name, error);
  }
}

function unusable(name, error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new DeviceError(
        `the ${name} may not be used: allow it to this page in the browser`,
        "permission_denied",
        error,
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return new DeviceError(`there is no such ${name}`, "no_device", error);
    case "NotReadableError":
    case "AbortError":
      return new DeviceError(`the ${name} is in use by another program`, "in_use", error);
  }
  return error;
}

/** An AudioContext that runs, with a module for its worklet; at 24 kHz where that can be had. Throws DeviceError. */
export async function audioContext(module, options = { sampleRate: RATE_HZ }) {
  if (!globalThis.AudioWorkletNode) {
    throw isSecureContext === false
      ? new DeviceError("audio is only for pages of https:// or of this machine", "insecure_context")
      : new DeviceError("this browser has no AudioWorklet", "unsupported");
  }
  const context = new AudioContext({ latencyHint: "interactive", ...options });
  try {
    await context.audioWorklet.addModule(new URL(module, import.meta.url));
    await running(context);
  } catch (error) {
    await context.close();
    throw error;
  }
  return context;
}

async function running(context) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, STARTING_MS)));
  await Promise.race([context.resume(), late]);
  clearTimeout(timer);
  if (context.state === "running") return;
  throw new DeviceError(
    "the browser lets a page use audio only after a click: open it in a click's handler",
    "needs_click",
  );
}
