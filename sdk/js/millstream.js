export { Camera } from "./camera.js";
export { createClientSecret } from "./client-secret.js";
export { converse } from "./conversation.js";
export { DeviceError, ServerError } from "./errors.js";
export { Microphone } from "./microphone.js";
export { restyle } from "./restyling.js";
export { Speaker } from "./speaker.js";
export { speak } from "./speech.js";
export { transcribe } from "./transcription.js";
