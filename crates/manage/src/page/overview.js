// How the gateway is.

import { get } from './api.js';
import { card, chip, empty, h, head, mono, soft, table, when } from './dom.js';

const PHASES = { ready: ['Serving', 'good'], starting: ['Starting', 'warn'], draining: ['Stopping', 'warn'] };

function fact(label, value, more) {
  return h('section', { class: 'card fact' }, h('div', { class: 'label' }, label), h('div', { class: 'value' }, value), h('div', { class: 'small soft' }, more));
}

/** What AlertPolicies found and is not over; what is silenced stays in sight. */
function alarms({ alerts }) {
  return card('Alerts', alerts.length
    ? table('Alerts', [
      { label: 'State', cell: (one) => (one.state === 'firing' ? chip('goes on', 'bad') : chip('silenced', 'warn')) },
      { label: 'What', cell: (one) => one.text },
      { label: 'Policy', cell: (one) => mono(one.policy) },
      { label: 'Since', cell: (one) => when(one.startedAt) },
    ], alerts)
    : h('div', { class: 'in' }, h('p', {}, chip('None', 'good'), ' ', soft('What an AlertPolicy finds is told here, and by its channels.'))));
}

async function show(main, me) {
  const state = await get('state');
  const may = (permission) => me.permissions.includes(permission);
  const [alerts, routes, refused] = await Promise.all([
    get('alerts').catch(() => undefined),
    may('readDocuments') ? get('routes').catch(() => undefined) : undefined,
    may('readRequests') ? get('refusals?limit=100').catch(() => undefined) : undefined,
  ]);
  const [word, kind] = PHASES[state.phase] ?? [state.phase, ''];
  const notices = Object.entries(state.notices);
  const hour = refused?.refusals.filter((one) => Date.now() - Date.parse(one.record.time) < 3600_000).length;
  const active = state.active;
  const paths = new Set(routes?.routes.map((route) => `${route.host} ${route.path} ${route.pathType}`)).size;
  const open = routes?.routes.filter((route) => !route.guards.length).length;
  main.append(
    head('Overview', 'What this gateway serves, and whether anything is wrong.'),
    h('div', { class: 'grid' },
      fact('State', [h('span', { class: `dot ${kind}`, 'aria-hidden': 'true' }), word], `version ${state.version}`),
      fact('Documents', active && state.source === 'store' ? `Revision ${active.number}` : 'From files',
        state.source === 'store' ? active && [`${active.documents} documents by ${active.author}, `, when(active.createdAt)] : ['set ', mono(routes?.revision ?? '')]),
      routes && fact('Published', `${paths} ${paths === 1 ? 'path' : 'paths'}`, open ? `${open} without any policy` : 'each guarded by a policy'),
      refused && fact('Refused', `${hour}${hour === 100 ? '+' : ''}`, ['in the last hour; ', h('a', { href: '#/refusals' }, 'see why')])),
    alerts && alarms(alerts),
    card('What is wrong', notices.length
      ? h('ul', { class: 'plain in' }, notices.map(([matter, text]) => h('li', { class: 'note warn' }, h('strong', {}, matter), ': ', text)))
      : h('div', { class: 'in' }, h('p', {}, chip('Nothing', 'good'), ' ', soft('Failing stores, kept revisions and refused documents would be told here.')))),
    card('Addresses', state.listeners.length
      ? table('Addresses', [
        { label: 'Listener', cell: (one) => one.name },
        { label: 'Address', cell: (one) => mono(`${one.tls ? 'https' : 'http'}://${one.address}`) },
        { label: 'Encrypted', cell: (one) => (one.tls ? chip('TLS', 'good') : chip('clear text', 'warn')) },
      ], state.listeners)
      : empty('Nothing is served yet', 'The gateway waits for its first revision. `bartizan apply -f DIR --reason TEXT` makes it.')));
}

export const overview = { id: 'overview', title: 'Overview', needs: 'readState', show };
