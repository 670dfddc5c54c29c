// How the gateway is.

import { find, get } from './api.js';
import { card, chip, empty, h, head, mono, rich, soft, table, when } from './dom.js';

const PHASES = { ready: ['Serving', 'good'], starting: ['Starting', 'warn'], draining: ['Stopping', 'warn'] };

function fact(label, value, more) {
  return h('section', { class: 'card fact' }, h('div', { class: 'label' }, label), h('div', { class: 'value' }, value), h('div', { class: 'small soft' }, more));
}

/** What AlertPolicies found and is not over; what is silenced stays in sight. */
function alarms({ alerts }) {
  return card('Alerts', alerts.length
    ? table('What goes on', [
      { label: 'State', cell: (one) => (one.state === 'firing' ? chip('goes on', 'bad') : chip('silenced', 'warn')) },
      { label: 'What', cell: (one) => one.text },
      { label: 'Policy', cell: (one) => mono(one.policy) },
      { label: 'Since', cell: (one) => when(one.startedAt) },
    ], alerts)
    : h('div', { class: 'in' }, h('p', {}, chip('None', 'good'), ' ', soft('What an AlertPolicy finds is told here, and by its channels.'))));
}

/** The rollout that is under way, else the last one. */
function tried(one) {
  const kind = one.isStopped ? 'bad' : one.phase === 'promoted' || one.phase === 'proved' ? 'good' : 'accent';
  const last = one.moves[one.moves.length - 1];
  const side = (name, arm) => ({ name, ...arm });
  const { shadow } = one.seen;
  const sides = one.step ? [side('Candidate', one.seen.candidate), side('Active', one.seen.active)] : [];
  const felt = Object.entries(one.felt).filter(([, counts]) => counts.refused + counts.failed > 0);
  return card(`Rollout ${one.rollout}`, h('div', { class: 'in' },
    h('p', {}, chip(one.phase + (one.step ? ` at ${one.step}` : ''), kind), ' ', mono(one.candidate), ' beside ', mono(one.base), ', ', soft(`${one.author}: ${one.reason}`)),
    one.waitsFor ? h('p', {}, 'Waits for ', rich(one.waitsFor), '.') : '',
    last && one.isStopped ? h('p', { class: 'note warn' }, last.why) : '',
    one.step ? table('What was seen', [
      { label: 'Served by', cell: (arm) => arm.name },
      { label: 'Calls', cell: (arm) => String(arm.calls) },
      { label: 'Refused', cell: (arm) => String(arm.refused) },
      { label: 'Failed', cell: (arm) => String(arm.failed) },
    ], sides) : h('p', {}, `${shadow.judged} calls judged twice: ${shadow.same} the same, ${shadow.refused} newly refused, ${shadow.allowed} newly allowed, ${shadow.changed} changed otherwise.`),
    felt.length ? h('p', { class: 'small' }, 'Felt by ', felt.slice(0, FELT_MAX).map(([who]) => who).join(', '), felt.length > FELT_MAX ? ` and ${felt.length - FELT_MAX} more` : '') : ''));
}

/** What the detectors found. */
function unusual(report) {
  const rows = report.alerts.slice(0, ALERTS_MAX);
  const more = report.alerts.length - rows.length;
  return card('What is unusual', rows.length
    ? h('div', {}, table('Alerts', [
      { label: 'Severity', tight: true, cell: (one) => [chip(one.severity, one.severity === 'critical' || one.severity === 'high' ? 'bad' : 'warn'), one.isLearning ? soft(' learning') : ''] },
      { label: 'What', cell: (one) => one.sentence },
      { label: 'When', tight: true, cell: (one) => when(new Date(one.firstMs).toISOString()) },
      { label: 'More', tight: true, cell: (one) => mono(`bartizan insight alerts ${one.id}`) },
    ], rows), more > 0 ? h('p', { class: 'in small soft' }, `${more} more: bartizan insight alerts`) : '')
    : h('div', { class: 'in' }, h('p', {}, chip('Nothing', 'good'), ' ', soft(report.learning.sentence))));
}

const ALERTS_MAX = 5;
const FELT_MAX = 8;

async function show(main, me) {
  const state = await get('state');
  const may = (permission) => me.permissions.includes(permission);
  const [alerts, routes, refused, rollout, insight] = await Promise.all([
    me.narrow ? undefined : get('alerts').catch(() => undefined),
    may('readDocuments') ? get('routes').catch(() => undefined) : undefined,
    may('readRequests') ? get('refusals?limit=100').catch(() => undefined) : undefined,
    may('readDocuments') && !me.narrow ? find('rollout').catch(() => undefined) : undefined,
    may('readKeys') && !me.narrow ? find('insight').catch(() => undefined) : undefined,
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
    rollout ? tried(rollout) : '',
    insight ? unusual(insight) : '',
    card('Addresses', state.listeners.length
      ? table('Addresses', [
        { label: 'Listener', cell: (one) => one.name },
        { label: 'Address', cell: (one) => mono(`${one.tls ? 'https' : 'http'}://${one.address}`) },
        { label: 'Encrypted', cell: (one) => (one.tls ? chip('TLS', 'good') : chip('clear text', 'warn')) },
      ], state.listeners)
      : empty('Nothing is served yet', 'The gateway waits for its first revision. `bartizan apply -f DIR --reason TEXT` makes it.')));
}

export const overview = { id: 'overview', title: 'Overview', needs: 'readState', show };
