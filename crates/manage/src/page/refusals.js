// The last refusals, each with its story.

import { get } from './api.js';
import { card, chip, copyable, empty, h, head, mono, rich, soft, when } from './dom.js';

function story(one) {
  const record = one.record;
  const remedies = one.remedies ?? [];
  return h('div', { class: 'story' },
    h('ol', { class: 'stages', 'aria-label': 'Stages' }, one.stages.map((stage) => {
      const ok = stage.outcome === 'ok' || stage.outcome === 'answered';
      return h('li', { class: ok ? 'ok' : 'stop' },
        h('span', { class: 'mark', 'aria-hidden': 'true' }, ok ? '✓' : '✕'),
        h('span', { class: 'stage' }, stage.stage),
        h('span', {}, ok ? stage.note || soft('passed') : `${stage.outcome}: ${stage.note}`));
    })),
    remedies.length ? h('div', { class: 'note' }, h('h2', { class: 'h3' }, 'What would change it'), h('ul', { class: 'plain' }, remedies.map((text) => h('li', {}, rich(text))))) : '',
    h('p', { class: 'soft small' }, one.ending),
    h('p', { class: 'soft small' }, `From ${record.client ?? 'nobody known'} on listener ${record.listener ?? '?'}, judged by revision ${record.revision ?? '?'}.`),
    copyable(`bartizan why ${record.id}`));
}

function item(one) {
  const record = one.record;
  const details = h('details', { class: 'refusal' },
    h('summary', {}, h('span', { class: 'soft small' }, when(record.time)), chip(String(record.status || '–'), record.status >= 500 ? 'warn' : 'bad'), h('strong', {}, record.reason ?? 'refused'),
      h('span', { class: 'path' }, mono(`${record.method} ${record.path ?? ''}`)), h('span', { class: 'by soft small' }, record.consumer ?? 'nobody by name')));
  details.addEventListener('toggle', () => { if (details.open && details.children.length === 1) details.append(story(one)); });
  return details;
}

async function show(main) {
  const list = h('div', {});
  const filter = h('input', { type: 'search', class: 'filter', placeholder: 'Filter by reason, path or consumer', 'aria-label': 'Filter refusals' });
  let found = [];
  const draw = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const left = found.filter((one) => { const text = JSON.stringify(one.record).toLowerCase(); return words.every((word) => text.includes(word)); });
    list.replaceChildren(...(left.length ? left.map(item) : [found.length
      ? empty('Nothing matches', 'No refusal here has all of these words.')
      : empty('Nothing was refused', 'When the gateway turns a request away, it stands here with the stage that decided, the policy, and what would change it.')]));
  };
  const load = async () => { found = (await get('refusals?limit=100')).refusals; draw(); };
  filter.addEventListener('input', draw);
  await load();
  main.append(head('Refusals', 'The last hundred requests that were turned away. Open one to see why.', filter, h('button', { type: 'button', onclick: load }, 'Look again')), card('', list));
}

export const refusals = { id: 'refusals', title: 'Refusals', needs: 'readRequests', show };
