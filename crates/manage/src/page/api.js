// The management API, as any other client speaks it. The session is in a cookie that no script can read.

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.title ?? `The gateway answered ${status}.`);
    this.status = status;
    this.code = problem.code ?? '';
    this.problems = problem.problems ?? [];
    this.active = problem.active;
  }
}

/** Called when the session has ended. */
let onEnd = () => {};
export function whenSignedOut(act) { onEnd = act; }

async function ask(method, path, body, headers = {}) {
  const given = { accept: 'application/json', 'x-bartizan-request': '1', ...headers };
  if (body !== undefined) given['content-type'] = 'application/json';
  let response;
  try {
    response = await fetch(`/admin/v1/${path}`, { method, headers: given, body: body === undefined ? undefined : JSON.stringify(body), credentials: 'same-origin', redirect: 'error', cache: 'no-store' });
  } catch {
    throw new Refused(0, { title: 'The gateway does not answer. Is it running?' });
  }
  const text = await response.text();
  let json = {};
  try { json = text ? JSON.parse(text) : {}; } catch { json = { title: 'The answer could not be read.' }; }
  if (!response.ok) {
    if (response.status === 401 && ['SessionEnded', 'TokenMissing'].includes(json.code)) onEnd();
    throw new Refused(response.status, json);
  }
  return { json, etag: response.headers.get('etag') };
}

export const get = async (path) => (await ask('GET', path)).json;
export const getTagged = (path) => ask('GET', path);
export const post = async (path, body, headers) => (await ask('POST', path, body, headers)).json;
export const patch = async (path, body) => (await ask('PATCH', path, body)).json;

/** As `get`, but nothing where there is nothing (404). */
export async function find(path) {
  try {
    return await get(path);
  } catch (problem) {
    if (problem.status === 404) return undefined;
    throw problem;
  }
}
