import { ServerError } from "./errors.js";

/** What a promise gives, if it does in time. Throws ServerError "unreachable" with the complaint, if not. */
export async function within(ms, promise, complaint) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new ServerError(`${complaint} within ${ms / 1000} s`, "unreachable")), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
