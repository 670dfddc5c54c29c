// API keys of consumers: made, shown once, withdrawn.

import { find, get, post } from './api.js';
import { card, chip, confirm, copyable, dialog, empty, field, form, h, head, mono, say, table, when } from './dom.js';

const STATES = { active: 'good', pending: 'warn', expired: 'warn', revoked: 'bad' };
const LIVES = [['', 'until it is revoked'], ['86400', 'a day'], ['2592000', '30 days'], ['7776000', '90 days'], ['31536000', 'a year']];

function create(consumers, again) {
  dialog('New API key', (close) => {
    const list = h('datalist', { id: 'consumers' }, consumers.map((name) => h('option', { value: name })));
    const consumer = field('Consumer', { name: 'consumer', list: 'consumers', required: true }, 'Whose key it is, as documents name them.');
    const label = field('Label', { name: 'label', maxlength: '200' }, 'What it is for. May stay empty.');
    const life = field('Valid', { name: 'life', options: LIVES, value: '7776000' });
    return form([list, consumer.element, label.element, life.element], 'Make the key', async () => {
      const body = { consumer: consumer.input.value };
      if (label.input.value) body.label = label.input.value;
      if (life.input.value) body.expiresInSeconds = Number(life.input.value);
      const made = await post('keys', body);
      close();
      once(made);
      await again();
    }, { cancel: h('button', { type: 'button', onclick: close }, 'Cancel') });
  });
}

function once(made) {
  dialog('The key, shown this once', (close) => h('div', { class: 'form' },
    h('p', {}, 'Give it to ', h('strong', {}, made.consumer), ' and keep it where secrets are kept. The gateway has only its hash, so it cannot be shown again.'),
    copyable(made.key, 'Copy key'),
    h('div', { class: 'actions' }, h('button', { type: 'button', class: 'main', onclick: close }, 'I have kept it'))));
}

async function show(main, me) {
  const may = (permission) => me.permissions.includes(permission);
  const draw = async () => {
    const [page, documents] = await Promise.all([get('keys?limit=1000'), find('documents?kind=Consumer&limit=1000')]);
    const consumers = (documents?.documents ?? []).map((one) => one.metadata.name);
    const rows = [...page.keys].reverse();
    const action = may('makeKeys') && h('button', { type: 'button', class: 'main', onclick: () => create(consumers, draw) }, 'New key');
    main.replaceChildren(
      head('API keys', 'What consumers prove themselves by. A key is shown when it is made, and never again.', action || ''),
      card('', rows.length ? table('API keys', [
        { label: 'Consumer', cell: (row) => h('strong', {}, row.consumer) },
        { label: 'Key', tight: true, cell: (row) => mono(row.id) },
        { label: 'Label', cell: (row) => row.label },
        { label: 'State', cell: (row) => chip(row.state, STATES[row.state]) },
        { label: 'Made', tight: true, cell: (row) => when(row.createdAt) },
        { label: 'Last used', tight: true, cell: (row) => when(row.lastUsedAt) ?? 'never' },
        { label: 'Ends', tight: true, cell: (row) => when(row.expiresAt) ?? 'when revoked' },
        { label: '', bare: true, tight: true, cell: (row) => may('revokeKeys') && row.state !== 'revoked' && h('button', { type: 'button', class: 'slim danger', 'aria-label': `Revoke key ${row.id} of ${row.consumer}`, onclick: () => revoke(row, draw) }, 'Revoke') },
      ], rows) : empty('No keys yet', may('makeKeys') ? 'Make one for a consumer of your documents; it works within a second.' : 'An operator makes keys here or by `bartizan keys create --consumer NAME`.')));
  };
  await draw();
}

function revoke(row, again) {
  confirm(`Revoke the key of ${row.consumer}?`, `Calls with key ${row.id} are refused within a second. This cannot be undone.`, 'Revoke', async () => {
    await post(`keys/${encodeURIComponent(row.id)}/revoke`);
    say(`The key ${row.id} is revoked.`);
    await again();
  });
}

export const keys = { id: 'keys', title: 'API keys', needs: 'readKeys', show };
