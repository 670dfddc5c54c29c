// The frame: who is signed in, which section is shown. A section is { id, title, needs, show(main, me) }: a file that
// fills `main`, and a line here.

import { get, post, whenSignedOut } from './api.js';
import { h, say, told } from './dom.js';
import { signIn, takeLink } from './signin.js';
import { keys } from './keys.js';
import { models } from './models.js';
import { overview } from './overview.js';
import { people } from './people.js';
import { refusals } from './refusals.js';
import { revisions } from './revisions.js';
import { routes } from './routes.js';
import { trail } from './trail.js';

const SECTIONS = [overview, routes, refusals, revisions, keys, models, people, trail];

const root = document.getElementById('app');
let shown = 0;

function frame(me) {
  const open = SECTIONS.filter((section) => !section.needs || me.permissions.includes(section.needs));
  const links = open.map((section) => h('a', { href: `#/${section.id}` }, section.title));
  const main = h('main', { id: 'main' });
  root.replaceChildren(
    h('header', { class: 'top' },
      h('a', { class: 'brand', href: '#/' }, h('img', { src: 'icon.svg', alt: '' }), 'Bartizan'),
      h('div', { class: 'who' }, h('span', { class: 'name' }, me.name), h('span', { class: 'chip accent role' }, me.role),
        h('button', { type: 'button', class: 'slim', onclick: () => signOut() }, 'Sign out'))),
    h('div', { class: 'frame' }, h('nav', { 'aria-label': 'Sections' }, h('ul', {}, links.map((link) => h('li', {}, link)))), main));
  const turn = async (focus) => {
    const wanted = location.hash.replace(/^#\/?/, '').split('/')[0];
    const section = open.find((one) => one.id === wanted) ?? open[0];
    for (const link of links) link.toggleAttribute('aria-current', false);
    const link = links[open.indexOf(section)];
    link.setAttribute('aria-current', 'page');
    link.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    document.title = `${section.title} · Bartizan`;
    const turned = ++shown;
    const place = h('div', { class: 'quiet' }, 'Loading …');
    main.replaceChildren(place);
    const fresh = document.createElement('div');
    fresh.className = 'section';
    try {
      await section.show(fresh, me);
    } catch (problem) {
      if (problem.status === 401) return;
      fresh.append(h('h1', { tabindex: '-1' }, section.title), h('p', { class: 'note bad', role: 'alert' }, told(problem)));
    }
    // Somebody who is quick has gone on to another section meanwhile.
    if (turned !== shown) return;
    main.replaceChildren(fresh);
    if (focus) main.querySelector('h1')?.focus();
  };
  onhashchange = () => { if (location.hash !== '#main') turn(true); };
  turn(false);
}

async function signOut() {
  await post('logout').catch(() => undefined);
  begin();
  say('You are signed out.');
}

async function begin(link) {
  onhashchange = () => { const late = takeLink(); if (late) begin(late); };
  document.title = 'Bartizan';
  shown += 1;
  try {
    await signIn(root, link, frame);
  } catch (problem) {
    root.replaceChildren(h('p', { class: 'loading', role: 'alert' }, told(problem)));
  }
}

const link = takeLink();
if (link) {
  begin(link);
} else {
  try {
    frame(await get('me'));
  } catch {
    begin();
  }
}
whenSignedOut(() => begin());
