// What was done through management: who, what, when, from where.

import { get } from './api.js';
import { card, chip, empty, h, head, mono, soft, table, when } from './dom.js';

const PHASES = { done: 'good', begun: '', refused: 'bad', failed: 'warn' };

async function show(main) {
  let before;
  const rows = [];
  const list = h('div', {});
  const more = h('button', { type: 'button', onclick: () => load() }, 'Older ones');
  const load = async () => {
    const page = await get(`audit?limit=100${before ? `&before=${before}` : ''}`);
    rows.push(...page.rows);
    before = page.next;
    more.hidden = !before;
    // What was begun and done is one line: its end.
    const ended = rows.filter((row) => row.phase !== 'begun');
    list.replaceChildren(ended.length ? table('Audit trail', [
      { label: 'When', tight: true, cell: (row) => when(row.at) },
      { label: 'Who', cell: (row) => row.actor },
      { label: 'From', cell: (row) => mono(row.source) },
      { label: 'What', cell: (row) => [mono(row.action), ' ', chip(row.phase, PHASES[row.phase])] },
      { label: 'On', cell: (row) => row.target },
      { label: 'Before → after', cell: (row) => (row.before || row.after ? [row.before || '–', ' → ', row.after || '–'] : '') },
      { label: 'Why', cell: (row) => (row.reason ? soft(row.reason) : '') },
    ], ended) : empty('Nothing was done yet', 'Every change through this page, the API and the commands stands here, and cannot be taken out unseen.'));
  };
  await load();
  main.append(head('Audit trail', 'Every change and every refused try, in a chain of hashes.'), card('', list), h('div', { class: 'actions' }, more));
}

export const trail = { id: 'trail', title: 'Audit trail', needs: 'readAudit', show };
