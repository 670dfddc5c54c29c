// Models that callers may ask for, each with a call to copy.

import { find, get } from './api.js';
import { card, chip, copyable, empty, h, head, mono, soft } from './dom.js';

/** Where models are called: the first address with TLS, else the first. */
function base(state) {
  const served = state.listeners.find((one) => one.tls) ?? state.listeners[0];
  return served ? `${served.tls ? 'https://' : 'http://'}${served.address}` : 'https://gateway.example';
}

function call(address, name) {
  const body = JSON.stringify({ model: name, messages: [{ role: 'user', content: 'Hello' }] });
  return `curl ${address}/v1/chat/completions \\\n  -H "Authorization: Bearer $API_KEY" \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`;
}

async function show(main) {
  const [state, view] = await Promise.all([get('state'), find('documents?kind=Model&limit=1000')]);
  const documents = view?.documents ?? [];
  main.append(head('Models', 'What callers may ask for by name, and which provider serves it.'));
  if (!documents.length) {
    main.append(card('', empty('No models yet', 'A Model document gives a provider’s model a public name; `bartizan models add` writes one.')));
    return;
  }
  const address = base(state);
  for (const { metadata, spec } of documents) {
    main.append(card(metadata.name, h('div', { class: 'in' },
      h('div', { class: 'row' }, spec.targets.map((target) => chip(`${target.upstream}${target.model ? ` · ${target.model}` : ''}`, 'accent')),
        spec.aliases?.length ? soft(`also ${spec.aliases.join(', ')}`) : '', spec.roles?.length ? [soft('for'), spec.roles.map((role) => mono(role))] : ''),
      copyable(call(address, metadata.name), 'Copy call'))));
  }
}

export const models = { id: 'models', title: 'Models', needs: 'readDocuments', show };
