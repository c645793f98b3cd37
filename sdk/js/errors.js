export class ServerError extends Error {
  name = "ServerError";

  constructor(message, code, param = null, cause = undefined) {
    super(message, { cause });
    this.code = code;
    this.param = param;
  }
}

export class DeviceError extends Error {
  name = "DeviceError";

  constructor(message, code, cause = undefined) {
    super(message, { cause });
    this.code = code;
  }
}

/** The protocol's error object as an exception. */
export function fromProtocol(error) {
  return new ServerError(error.message, error.code, error.param ?? null);
}
