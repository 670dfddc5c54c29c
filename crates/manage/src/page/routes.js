// Everything that can be reached, with what guards it.

import { find } from './api.js';
import { card, chip, empty, h, head, mono, soft, table } from './dom.js';

const KINDS = [[/no |any|nobody|anonymous|open|none/i, 'warn'], [/key|token|password|certificate|jwt|signed|role|allow/i, 'accent']];
const kind = (guard) => (KINDS.find(([pattern]) => pattern.test(guard)) ?? ['', ''])[1];

/** What differs in nothing but its listener is one row. */
function grouped(all) {
  const groups = new Map();
  for (const { listener, other, ...route } of all) {
    const key = JSON.stringify(route);
    const group = groups.get(key) ?? { ...route, listeners: [] };
    group.listeners.push(listener);
    groups.set(key, group);
  }
  return [...groups.values()];
}

async function show(main) {
  const view = await find('routes');
  const routes = grouped(view?.routes ?? []);
  const list = h('div', {});
  const filter = h('input', { type: 'search', class: 'filter', placeholder: 'Filter by host, path, route or policy', 'aria-label': 'Filter routes' });
  const draw = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = (route) => JSON.stringify(route).toLowerCase();
    const left = routes.filter((route) => words.every((word) => text(route).includes(word)));
    list.replaceChildren(left.length ? table('Routes', [
      { label: 'Path', cell: (route) => [mono(route.path), ' ', soft(route.pathType === 'Exact' ? 'exactly' : 'and below')] },
      { label: 'Methods', cell: (route) => (route.methods.length ? route.methods.join(', ') : soft('any')) },
      { label: 'Host', cell: (route) => (route.host === 'any' ? soft('any') : route.host) },
      { label: 'Route', cell: (route) => [route.route, h('br'), soft(`on ${route.listeners.join(', ')}`), route.conditions.length ? [h('br'), soft(`if ${route.conditions.join(', ')}`)] : ''] },
      { label: 'Policies', cell: (route) => (route.guards.length ? h('div', { class: 'chips' }, route.guards.map((guard) => chip(guard, kind(guard)))) : chip('no policy', 'warn')) },
    ], left) : routes.length ? empty('Nothing matches', 'No route has all of these words.') : empty('No routes yet', 'A Route document publishes paths; `bartizan init` writes a first set.'));
  };
  filter.addEventListener('input', draw);
  main.append(head('Routes', 'Every path that callers can reach, and what stands in front of it.', filter), card('', list));
  draw();
}

export const routes = { id: 'routes', title: 'Routes', needs: 'readDocuments', show };
