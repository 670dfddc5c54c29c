// An OpenID provider at which administrators sign in, and a door for the test to turn its knobs.
//
// Started as `node administrators.mjs CERTIFICATE KEY`; prints one line of JSON when ready: the issuer and the door.
// Whoever is sent to it is `state.user` with `state.groups`, and agrees. Ends with its standard input.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps, request as requestHttps } from 'node:https';
import { Provider } from 'oidc-provider';

const [certificate, key] = process.argv.slice(2).map((path) => readFileSync(path));
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const state = { user: 'ada', groups: [], denies: false, redirect: 'http://127.0.0.1/none' };
let issuer;
let provider;

// Standard output is one line for the test, which then reads no more of it.
const print = (line) => process.stdout.write(`${line}\n`);
console.info = console.error;
console.log = console.error;

function rebuild() {
  provider = new Provider(issuer, {
    clients: [{
      client_id: 'console', client_secret: 'console-secret/+', application_type: 'native', grant_types: ['authorization_code'],
      response_types: ['code'], redirect_uris: [state.redirect], scope: 'openid profile email',
    }],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'one', alg: 'RS256', use: 'sig' }] },
    claims: { openid: ['sub', 'groups', 'preferred_username'], profile: [], email: [] },
    conformIdTokenClaims: false,
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub: `number-of-${sub}`, groups: state.groups, preferred_username: sub }) }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    features: { devInteractions: { enabled: false } },
    pkce: { required: () => true },
    cookies: { keys: ['for one test'] },
  });
}

async function interact(request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  let result;
  if (state.denies) {
    result = { error: 'access_denied' };
  } else if (prompt.name === 'login') {
    result = { login: { accountId: state.user } };
  } else {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope('openid profile email');
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

// The provider's half of a browser: follows until it is sent elsewhere.
async function follow(start) {
  const jar = new Map();
  let url = start;
  for (let hops = 0; hops < 12; hops += 1) {
    const cookie = [...jar].map((pair) => pair.join('=')).join('; ');
    const answer = await new Promise((resolve, reject) => {
      const asked = requestHttps(url, { headers: { cookie }, rejectUnauthorized: false }, (response) => {
        for (const line of response.headers['set-cookie'] ?? []) {
          const [name, ...value] = line.split(';')[0].split('=');
          jar.set(name, value.join('='));
        }
        let text = '';
        response.on('data', (chunk) => { text += chunk; });
        response.on('end', () => resolve({ status: response.statusCode, location: response.headers.location, text }));
      });
      asked.on('error', reject);
      asked.end();
    });
    if (!answer.location) return { status: answer.status, text: answer.text };
    url = new URL(answer.location, url).href;
    if (!url.startsWith(issuer)) return { location: url };
  }
  return { text: 'too many redirects' };
}

async function door(path, body) {
  switch (path) {
    case '/set': Object.assign(state, body); rebuild(); return {};
    case '/follow': return follow(body.url);
    default: return null;
  }
}

createHttp((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', async () => {
    const body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : {};
    const answer = await door(request.url, body).catch((error) => ({ text: String(error) }));
    response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? {}));
  });
}).listen(0, '127.0.0.1', function listening() {
  const doorPort = this.address().port;
  const server = createHttps({ cert: certificate, key }, (request, response) => {
    const turn = request.url.startsWith('/interaction/') ? interact(request, response) : provider.callback()(request, response);
    Promise.resolve(turn).catch((error) => { response.statusCode = 500; response.end(String(error)); });
  });
  server.listen(0, '127.0.0.1', () => {
    issuer = `https://127.0.0.1:${server.address().port}`;
    rebuild();
    print(JSON.stringify({ issuer, door: `127.0.0.1:${doorPort}` }));
  });
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
