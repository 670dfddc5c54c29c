// A certified OpenID provider for one test, and a door for the test to turn its knobs.
//
// Started as `node provider.mjs CERTIFICATE KEY`; prints one line of JSON when ready: the issuer and the control
// address. Ends with its standard input, so that it never outlives the test.

import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID, sign as signBytes, verify as verifyBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps, request as requestHttps } from 'node:https';
import { Provider, errors } from 'oidc-provider';

// Standard output is one line for the test, which then reads no more of it.
console.info = console.error;
console.log = console.error;

const [certificate, key] = process.argv.slice(2).map((path) => readFileSync(path));
const AUDIENCE = 'https://api.example.com';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

let number = 0;
function makeKey() {
  // Read back from its text: node 20 deadlocks where a key is exported and the collector meets the job that made it, since
  // both lock the same key.
  const { privateKey: pem } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const [privateKey, publicKey] = [createPrivateKey(pem), createPublicKey(pem)];
  number += 1;
  const kid = `key-${number}`;
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' };
  return { kid, jwk, privateKey, publicKey };
}

const state = {
  keys: [makeKey()], down: false, slowMs: 0, counts: {}, accessTokenTTL: 600,
  // Of people who sign in by a browser.
  user: 'shop', prefix: '', groups: ['buyers'], denies: false, browser: { redirect_uris: [], post_logout_redirect_uris: [] },
  idTokenTTL: 600, tokenStatus: 200, tokenAnswer: null,
};
let provider = null;
// What people and clients were given. The provider's own memory ends with each rebuild, and theirs must not.
const given = new Map();
class Adapter {
  constructor(name) { this.name = name; }
  key(id) { return `${this.name}:${id}`; }
  async upsert(id, payload) { given.set(this.key(id), payload); }
  async find(id) { return given.get(this.key(id)); }
  async findByUid(uid) { return this.first((one) => one.uid === uid); }
  async findByUserCode(code) { return this.first((one) => one.userCode === code); }
  async consume(id) { given.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { given.delete(this.key(id)); }
  async revokeByGrantId(grantId) {
    for (const [key, one] of given) if (one.grantId === grantId) given.delete(key);
  }
  first(is) {
    return [...given].find(([key, one]) => key.startsWith(`${this.name}:`) && is(one))?.[1];
  }
}

let handler = null;
let issuer = null;

function rebuild() {
  const server = {
    getResourceServerInfo: (_ctx, resource, client) => ({
      scope: 'read write admin',
      audience: resource,
      accessTokenTTL: state.accessTokenTTL,
      accessTokenFormat: client.clientId.startsWith('opaque') ? 'opaque' : 'jwt',
      jwt: { sign: { alg: 'RS256' } },
    }),
    defaultResource: (_ctx, one) => (one.clientId === 'browser' ? undefined : AUDIENCE),
    useGrantedResource: () => true,
    enabled: true,
  };
  const client = (id) => ({
    client_id: id,
    client_secret: `${id}-secret/+`,
    grant_types: id === 'gateway' ? ['client_credentials', EXCHANGE] : ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: 'read write admin',
  });
  // Pages behind the gateway, and its own console: the code flow.
  const browser = {
    ...client('browser'),
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    scope: 'openid profile offline_access',
    ...state.browser,
  };
  provider = new Provider(issuer, {
    clients: [client('shop'), client('stranger'), client('opaque-shop'), client('gateway'), browser],
    adapter: Adapter,
    claims: { openid: ['sub', 'groups', 'preferred_username'], profile: [], email: [] },
    conformIdTokenClaims: false,
    findAccount: (_ctx, name) => ({
      accountId: name, claims: () => ({ sub: state.prefix + name, groups: state.groups, preferred_username: name }),
    }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    issueRefreshToken: (_ctx, one) => one.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: () => true,
    pkce: { required: () => true },
    jwks: { keys: state.keys.map((one) => one.jwk) },
    scopes: ['read', 'write', 'admin', 'openid', 'profile', 'email', 'offline_access'],
    extraTokenClaims: (ctx) => ({ groups: ['buyers'], on_behalf_of: ctx.exchangedFor }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      rpInitiatedLogout: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: server,
    },
    cookies: { keys: ['for one test'] },
    ttl: { ClientCredentials: () => state.accessTokenTTL, AccessToken: () => state.idTokenTTL, IdToken: () => state.idTokenTTL },
  });
  // The provider has a place for further grants; RFC 8693 is not among its own.
  provider.registerGrantType(EXCHANGE, exchange, [
    'subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope',
  ]);
  handler = provider.callback();
}

// RFC 8693 §2: a token of ours, for a token that names whom the gateway acts for.
async function exchange(ctx) {
  const { client, params, provider } = ctx.oidc;
  const [head, body, signature] = params.subject_token.split('.');
  const isOurs = (one) => verifyBytes('sha256', Buffer.from(`${head}.${body}`), one.publicKey, Buffer.from(signature ?? '', 'base64url'));
  const subject = body && state.keys.some(isOurs)
    ? JSON.parse(Buffer.from(body, 'base64url'))
    : { client_id: (await provider.ClientCredentials.find(params.subject_token))?.clientId };
  if (!subject.client_id || subject.client_id === state.refuses) {
    throw new errors.InvalidRequest('the subject token is not acceptable');
  }
  ctx.exchangedFor = subject.client_id;
  const token = new provider.ClientCredentials({ client, scope: params.scope });
  const audience = params.resource ?? params.audience;
  token.resourceServer = new provider.ResourceServer(audience, {
    scope: 'read write admin', audience, accessTokenTTL: state.accessTokenTTL, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
  });
  ctx.oidc.entity('ClientCredentials', token);
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: 'Bearer',
    expires_in: token.expiration,
  };
}

// Whoever is asked to sign in does, and agrees to everything; or refuses.
async function interact(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  let result;
  if (state.denies) {
    result = { error: 'access_denied', error_description: 'they do not want to' };
  } else if (prompt.name === 'login') {
    result = { login: { accountId: state.user } };
  } else {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope('openid profile email offline_access');
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

// The provider's half of a browser: it keeps the provider's cookies, and follows until it is sent elsewhere.
const jar = new Map();
function visit(url, form) {
  const body = form && new URLSearchParams(form).toString();
  const headers = { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') };
  if (body) headers['content-type'] = 'application/x-www-form-urlencoded';
  return new Promise((resolve, reject) => {
    const asked = requestHttps(url, { method: body ? 'POST' : 'GET', headers, rejectUnauthorized: false }, (response) => {
      for (const line of response.headers['set-cookie'] ?? []) {
        const [pair] = line.split(';');
        const at = pair.indexOf('=');
        if (pair.slice(at + 1)) jar.set(pair.slice(0, at), pair.slice(at + 1));
        else jar.delete(pair.slice(0, at));
      }
      let text = '';
      response.on('data', (chunk) => { text += chunk; });
      response.on('end', () => resolve({ status: response.statusCode, location: response.headers.location, text }));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

async function follow(url, form) {
  let [at, sent] = [url, form];
  for (let hops = 0; hops < 12; hops += 1) {
    const answer = await visit(at, sent);
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(answer.text);
    if (xsrf) {
      [at, sent] = [`${issuer}/session/end/confirm`, { xsrf: xsrf[1], logout: 'yes' }];
    } else if (answer.location) {
      [at, sent] = [new URL(answer.location, at).href, undefined];
      if (!at.startsWith(`${issuer}/`)) return { to: at };
    } else {
      return { status: answer.status, text: answer.text };
    }
  }
  return { error: 'sent around for ever' };
}

const base64url = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

// A token as the test wants it, signed with a key of the provider or with a secret.
function mint({ header = {}, payload = {}, by = 'key', secret = '' }) {
  const current = state.keys[0];
  const now = Math.floor(Date.now() / 1000);
  const head = { alg: 'RS256', typ: 'at+jwt', kid: current.kid, ...header };
  const body = {
    iss: issuer, aud: AUDIENCE, sub: 'ada', client_id: 'shop', scope: 'read', iat: now, exp: now + 300,
    jti: randomUUID(), ...payload,
  };
  const drop = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));
  const message = `${base64url(drop(head))}.${base64url(drop(body))}`;
  const signed = {
    key: () => signBytes('sha256', Buffer.from(message), current.privateKey),
    // The classic confusion: the public key, as everybody can read it, taken for a shared secret.
    publicKey: () => createHmac('sha256', current.publicKey.export({ type: 'spki', format: 'pem' })).update(message).digest(),
    secret: () => createHmac('sha256', secret).update(message).digest(),
    other: () => signBytes('sha256', Buffer.from(message), makeKey().privateKey),
    nobody: () => Buffer.alloc(0),
  }[by]();
  return `${message}.${signed.toString('base64url')}`;
}

// A form sent to the provider's own endpoint, as a client of it would.
function post(path, client, form) {
  const secret = encodeURIComponent(`${client}-secret/+`);
  const body = new URLSearchParams(form).toString();
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    authorization: `Basic ${Buffer.from(`${client}:${secret}`).toString('base64')}`,
  };
  return new Promise((resolve, reject) => {
    const asked = requestHttps(`${issuer}${path}`, { method: 'POST', headers, rejectUnauthorized: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => { text += chunk; });
      response.on('end', () => resolve(text ? JSON.parse(text) : {}));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

async function control(path, body) {
  const { client = 'shop', scope = 'read write', token } = body;
  switch (path) {
    case '/issue':
      return post('/token', client, { grant_type: 'client_credentials', resource: body.resource ?? AUDIENCE, scope });
    case '/revoke': return post('/token/revocation', client, { token });
    // The new key signs, and the old one stays published beside it.
    case '/rotate': state.keys.unshift(makeKey()); rebuild(); return { kid: state.keys[0].kid };
    case '/drop-old-keys': state.keys.length = 1; rebuild(); return {};
    // Where the gateway is, once it is known.
    case '/register': state.browser = body; rebuild(); return {};
    // A browser is sent here: where is it sent from here?
    case '/follow': if (body.afresh) jar.clear(); return follow(body.url);
    case '/set': Object.assign(state, body); return {};
    case '/counts': return state.counts;
    case '/mint': return { token: mint(body), jwk: state.keys[0].publicKey.export({ format: 'jwk' }) };
    default: return null;
  }
}

createHttp((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', async () => {
    const body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : {};
    const answer = await control(request.url, body).catch((error) => ({ error: String(error) }));
    response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? {}));
  });
}).listen(0, '127.0.0.1', function listening() {
  const doorPort = this.address().port;
  const server = createHttps({ cert: certificate, key }, (request, response) => {
    const path = request.url.split('?')[0];
    state.counts[path] = (state.counts[path] ?? 0) + 1;
    if (state.down) {
      request.socket.destroy();
      return;
    }
    if (path === '/token' && state.tokenAnswer) {
      response.writeHead(state.tokenStatus, { 'content-type': 'application/json' });
      response.end(JSON.stringify(state.tokenAnswer));
      return;
    }
    if (path.startsWith('/interaction/')) {
      interact(request, response).catch((error) => { response.writeHead(500); response.end(String(error)); });
      return;
    }
    setTimeout(() => handler(request, response), state.slowMs);
  });
  server.listen(0, '127.0.0.1', () => {
    issuer = `https://127.0.0.1:${server.address().port}`;
    rebuild();
    process.stdout.write(`${JSON.stringify({ issuer, control: `127.0.0.1:${doorPort}` })}\n`);
  });
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
