const SESSION = ["url", "apiKey", "transport", "WebSocket", "reconnectAttempts", "signal"];
const ATTEMPTS = 10;

/** Throws TypeError for an option that there is not, or one of the wrong kind; the server judges the rest. */
export function checkSessionOptions(options, known, transports) {
  checkOptions(options, [...SESSION, ...known]);
  const { transport = transports[0], reconnectAttempts = ATTEMPTS, WebSocket } = options;
  if (!transports.includes(transport)) {
    throw new TypeError(`transport must be ${transports.join(" or ")}, got ${JSON.stringify(transport)}`);
  }
  if (!Number.isInteger(reconnectAttempts) || reconnectAttempts < 0) {
    throw new TypeError(`reconnectAttempts must be a whole number from 0, got ${JSON.stringify(reconnectAttempts)}`);
  }
  if (WebSocket !== undefined && typeof WebSocket !== "function")
    throw new TypeError("WebSocket must be a constructor");
  return { ...options, transport, reconnectAttempts };
}

export function checkOptions(options, known) {
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown) throw new TypeError(`there is no option ${unknown}; there are ${known.join(", ")}`);
}

/** Without what is undefined. */
export function given(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
