// A certified OpenID provider for one test, and a door for the test to turn its knobs.
//
// Started as `node provider.mjs CERTIFICATE KEY`; prints one line of JSON when ready: the issuer and the control
// address. Ends with its standard input, so that it never outlives the test.

import { createHmac, generateKeyPairSync, randomUUID, sign as signBytes, verify as verifyBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps, request as requestHttps } from 'node:https';
import { Provider, errors } from 'oidc-provider';

const [certificate, key] = process.argv.slice(2).map((path) => readFileSync(path));
const AUDIENCE = 'https://api.example.com';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

let number = 0;
function makeKey() {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  number += 1;
  const kid = `key-${number}`;
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' };
  return { kid, jwk, privateKey, publicKey };
}

const state = { keys: [makeKey()], down: false, slowMs: 0, counts: {}, accessTokenTTL: 600 };
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
    defaultResource: () => AUDIENCE,
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
  const provider = new Provider(issuer, {
    clients: [client('shop'), client('stranger'), client('opaque-shop'), client('gateway')],
    jwks: { keys: state.keys.map((one) => one.jwk) },
    scopes: ['read', 'write', 'admin'],
    extraTokenClaims: (ctx) => ({ groups: ['buyers'], on_behalf_of: ctx.exchangedFor }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: server,
    },
    cookies: { keys: ['for one test'] },
    ttl: { ClientCredentials: () => state.accessTokenTTL },
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
