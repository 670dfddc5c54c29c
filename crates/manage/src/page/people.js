// Who manages: users, sessions, tokens of one's own, one's own password.

import { get, patch, post } from './api.js';
import { card, chip, confirm, copyable, dialog, empty, field, form, h, head, mono, say, soft, table, when } from './dom.js';

const ROLES = [['viewer', 'viewer: looks'], ['developer', 'developer: looks, plans, sees refusals'], ['security', 'security: applies, revokes, reads the trail'], ['operator', 'operator: applies, makes and revokes keys'], ['admin', 'admin: everything']];
const STATES = { active: 'good', invited: 'warn', disabled: 'bad' };
const DAYS = [['30', '30 days'], ['90', '90 days'], ['365', 'a year']];

/** What a browser calls itself, in two words. */
function browser(agent) {
  const [, name] = /(Firefox|Edg|OPR|Chrome|Version)\/[\d.]+/.exec(agent) ?? [];
  const [, system] = /(Windows|Android|iPhone|iPad|Mac OS X|Linux)/.exec(agent) ?? [];
  const names = { Edg: 'Edge', OPR: 'Opera', Version: 'Safari' };
  return name ? [names[name] ?? name, system && `on ${system}`].filter(Boolean).join(' ') : agent.slice(0, 60) || 'unknown';
}

/** A narrowing in words. */
function scope(given) {
  if (!given) return chip('unreadable', 'bad');
  const parts = [...(given.permissions ?? []), ...(given.kinds ?? []), ...Object.entries(given.labels ?? {}).map(([name, value]) => `${name}=${value}`), ...(given.addresses ?? [])];
  return parts.length ? h('div', { class: 'chips' }, parts.map((part) => chip(part))) : '';
}

function shownOnce(title, sentence, text, label) {
  dialog(title, (close) => h('div', { class: 'form' }, h('p', {}, sentence), copyable(text, label), h('div', { class: 'actions' }, h('button', { type: 'button', class: 'main', onclick: close }, 'Done'))));
}

const invitation = (made) => shownOnce(`A link for ${made.user.name}`, 'Send it to them by a way that only they read. It sets their password, once, within a day.', `${location.origin}${made.link}`, 'Copy link');

function invite(again) {
  dialog('New user', (close) => {
    const name = field('Name', { name: 'name', required: true }, 'Letters, digits and . _ - @ +');
    const role = field('Role', { name: 'role', options: ROLES, value: 'viewer' });
    return form([name.element, role.element], 'Add', async () => {
      const made = await post('users', { name: name.input.value, role: role.input.value });
      close();
      invitation(made);
      await again();
    }, { cancel: h('button', { type: 'button', onclick: close }, 'Cancel') });
  });
}

function edit(user, again) {
  dialog(`Change ${user.name}`, (close) => {
    const role = field('Role', { name: 'role', options: ROLES, value: user.role });
    role.input.value = user.role;
    const state = field('Sign-in', { name: 'state', options: [['on', 'may sign in'], ['off', 'disabled']] });
    state.input.value = user.state === 'disabled' ? 'off' : 'on';
    return form([role.element, state.element, user.issuer ? '' : h('button', { type: 'button', class: 'danger', onclick: () => { close(); reset(user, again); } }, 'Reset the password')], 'Save', async () => {
      await patch(`users/${encodeURIComponent(user.name)}`, { role: role.input.value, disabled: state.input.value === 'off' });
      close();
      say(`${user.name} is changed.`);
      await again();
    }, { cancel: h('button', { type: 'button', onclick: close }, 'Cancel') });
  });
}

function reset(user, again) {
  confirm(`Reset the password of ${user.name}?`, 'It holds no more, they are signed out, and a link sets another one.', 'Reset', async () => {
    invitation(await post(`users/${encodeURIComponent(user.name)}/reset`));
    await again();
  });
}

function users(list, again) {
  return card('Users', table('Users', [
    { label: 'Name', cell: (row) => h('strong', {}, row.name) },
    { label: 'Role', cell: (row) => chip(row.role, 'accent') },
    { label: 'State', cell: (row) => chip(row.state, STATES[row.state]) },
    { label: 'Held to', cell: (row) => scope(row.scope) },
    { label: 'Signed in', tight: true, cell: (row) => when(row.loginAt) ?? 'never' },
    { label: '', bare: true, tight: true, cell: (row) => h('button', { type: 'button', class: 'slim', 'aria-label': `Change ${row.name}`, onclick: () => edit(row, again) }, 'Change') },
  ], list), h('button', { type: 'button', class: 'main', onclick: () => invite(again) }, 'New user'));
}

function sessions(list, again) {
  const end = async (row) => {
    await post(`sessions/${row.id}/end`);
    say('The session has ended.');
    await again();
  };
  return card('Signed in', table('Sessions', [
    { label: 'Who', cell: (row) => [h('strong', {}, row.user), row.own ? [' ', chip('this browser', 'accent')] : ''] },
    { label: 'From', cell: (row) => mono(row.address) },
    { label: 'With', cell: (row) => soft(browser(row.agent)) },
    { label: 'Since', tight: true, cell: (row) => when(row.createdAt) },
    { label: 'Last used', tight: true, cell: (row) => when(row.seenAt) },
    { label: '', bare: true, tight: true, cell: (row) => !row.own && h('button', { type: 'button', class: 'slim danger', 'aria-label': `End the session of ${row.user} from ${row.address}`, onclick: () => end(row) }, 'End') },
  ], list));
}

function makeToken(again) {
  dialog('New personal token', (close) => {
    const name = field('Name', { name: 'name', required: true, maxlength: '100' }, 'What it is for, such as “laptop” or “nightly job”.');
    const life = field('Valid', { name: 'life', options: DAYS, value: '90' });
    const reading = field('May', { name: 'may', options: [['all', 'everything that I may'], ['read', 'only read']] });
    return form([name.element, life.element, reading.element], 'Make the token', async () => {
      const scope = reading.input.value === 'read' ? { permissions: ['readState', 'readDocuments', 'readRequests', 'readKeys'] } : {};
      const made = await post('me/tokens', { name: name.input.value, expiresInSeconds: Number(life.input.value) * 86400, scope });
      close();
      shownOnce('The token, shown this once', 'It can do what you can, and ends with you. Keep it where secrets are kept.', made.text, 'Copy token');
      await again();
    }, { cancel: h('button', { type: 'button', onclick: close }, 'Cancel') });
  });
}

function tokens(list, again) {
  const rows = list.filter((row) => row.valid);
  const revoke = (row) => confirm(`Revoke ${row.name}?`, 'Whatever uses it is refused from now on.', 'Revoke', async () => { await post(`me/tokens/${row.id}/revoke`); await again(); });
  return card('My tokens', rows.length ? table('My tokens', [
    { label: 'Name', cell: (row) => h('strong', {}, row.name) },
    { label: 'Held to', cell: (row) => scope(row.scope) },
    { label: 'Last used', tight: true, cell: (row) => when(row.lastUsedAt) ?? 'never' },
    { label: 'Ends', tight: true, cell: (row) => when(row.expiresAt) },
    { label: '', bare: true, tight: true, cell: (row) => h('button', { type: 'button', class: 'slim danger', 'aria-label': `Revoke token ${row.name}`, onclick: () => revoke(row) }, 'Revoke') },
  ], rows) : empty('No tokens of yours', 'A personal token lets a command or a script do what you may: `bartizan apply --server … --token-file …`.'), h('button', { type: 'button', onclick: () => makeToken(again) }, 'New token'));
}

function password(again) {
  const current = field('Current password', { type: 'password', name: 'current', autocomplete: 'current-password', required: true });
  const next = field('New password', { type: 'password', name: 'new', autocomplete: 'new-password', minlength: '12', required: true }, 'At least 12 characters.');
  return card('My password', h('div', { class: 'in' }, form([h('div', { class: 'fields' }, current.element, next.element)], 'Change it', async () => {
    await post('me/password', { current: current.input.value, new: next.input.value });
    say('The new password holds; your other sessions have ended.');
    await again();
  })));
}

async function show(main, me) {
  const admin = me.permissions.includes('manageUsers');
  const draw = async () => {
    const [people, signed, own] = await Promise.all([admin ? get('users') : undefined, get('sessions'), get('me/tokens')]);
    main.replaceChildren(
      head('People', admin ? 'Who manages this gateway, and who is signed in.' : 'Your sessions, tokens and password.'),
      people ? users(people.users, draw) : '', sessions(signed.sessions, draw), tokens(own.tokens, draw), password(draw));
  };
  await draw();
}

export const people = { id: 'people', title: 'People', show };
