/** Requests to the server, and its news. */

/** @typedef {import("./types.js").Full} Full */

/** What the server answers where it does not do what was asked. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status 0 where the server was not reached
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
export async function ask(method, path, body) {
  /** @type {Response} */
  let answer;
  const headers = body === undefined ? undefined : { "content-type": "application/json" };
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ApiError("the server cannot be reached", 0);
  }
  let values;
  try {
    values = await answer.json();
  } catch {
    throw new ApiError(`the server answered ${answer.status}`, answer.status);
  }
  if (!answer.ok) {
    throw new ApiError(values.error ?? values.detail ?? `the server answered ${answer.status}`, answer.status);
  }
  return values;
}

/**
 * Listen to the server's news; taken up again after it was cut.
 *
 * @param {(event: any) => void} told
 * @param {(connected: boolean) => void} changed
 */
export function listen(told, changed) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const open = () => {
    const socket = new WebSocket(`${scheme}//${location.host}/live`);
    socket.onopen = () => changed(true);
    socket.onmessage = (message) => told(JSON.parse(message.data));
    socket.onclose = () => {
      changed(false);
      setTimeout(open, 2000);
    };
  };
  open();
}
