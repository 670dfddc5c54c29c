// Signing in: by name and password, or by a one-time link that sets the password.

import { get, post } from './api.js';
import { field, form, h } from './dom.js';

const brand = () => h('div', { class: 'brand' }, h('img', { src: 'icon.svg', alt: '' }), 'Bartizan');

function gate(title, sentence, body) {
  const heading = h('h1', { tabindex: '-1' }, title);
  return h('main', { id: 'main', class: 'gate' }, h('div', { class: 'card' }, brand(), h('div', {}, heading, h('p', { class: 'soft' }, sentence)), body));
}

/** The link's text in the address, which is then taken out of it: it must not stay in the history. */
export function takeLink() {
  const found = /^#link=(bzl_[0-9a-f_]+)$/.exec(location.hash);
  if (!found) return undefined;
  history.replaceState(null, '', location.pathname);
  return found[1];
}

/** Shows the form; `done(me)` goes on. */
export async function signIn(root, link, done) {
  root.replaceChildren(link ? await byLink(link, done) : await byPassword(done));
  root.querySelector('input, h1')?.focus();
}

async function byPassword(done) {
  const ways = await get('login');
  if (ways.first && !ways.openId) {
    return gate('No user yet', 'The first user is made by a one-time link, in a browser on the gateway’s machine.',
      h('div', { class: 'form' }, h('p', {}, 'The gateway printed the link when it started. To see another one:'), h('pre', {}, 'bartizan users setup-link')));
  }
  const name = field('Name', { name: 'name', autocomplete: 'username', required: true });
  const password = field('Password', { name: 'password', type: 'password', autocomplete: 'current-password', required: true });
  const openId = ways.openId && h('a', { class: 'button', href: '/admin/v1/openid/begin' }, `Sign in with ${ways.openId}`);
  const failed = /[?&]signin=([A-Za-z]+)/.exec(location.search);
  const why = failed && h('p', { class: 'note bad', role: 'alert' }, 'The identity provider did not let you in: ', failed[1], '.');
  return gate('Sign in', 'Manage this gateway.', h('div', { class: 'form' }, why,
    form([name.element, password.element], 'Sign in', async () => {
      done(await post('login', { name: name.input.value, password: password.input.value }));
    }), openId));
}

async function byLink(link, done) {
  let whom;
  try {
    whom = await post('links/look', { link });
  } catch (problem) {
    return gate('This link does not hold', problem.message,
      h('p', {}, 'A link is good for one use and a short time. ', h('code', {}, 'bartizan users setup-link'), ' shows a new one for the first user, ', h('code', {}, 'bartizan users reset NAME'), ' for anybody else.'));
  }
  const first = whom.user === null;
  const name = field('Name', { name: 'name', autocomplete: 'username', value: whom.user ?? '', readonly: !first, required: true }, first ? 'Letters, digits and . _ - @ +' : '');
  const password = field('New password', { name: 'password', type: 'password', autocomplete: 'new-password', minlength: '12', required: true }, 'At least 12 characters. A few words that do not belong together are good ones.');
  const again = field('The same again', { name: 'again', type: 'password', autocomplete: 'new-password', required: true });
  const sentence = first ? 'You become the first administrator of this gateway.' : 'Choose the password that you sign in with.';
  return gate(first ? 'Welcome' : 'Set a password', sentence, form([name.element, password.element, again.element], 'Set and sign in', async () => {
    if (password.input.value !== again.input.value) throw new Error('The two passwords differ.');
    const body = { link, password: password.input.value };
    if (first) body.name = name.input.value;
    done(await post('links/spend', body));
  }));
}
