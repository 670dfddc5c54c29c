// What was, what is, what is to be: plan files, compare with an older revision, roll back.

import { get, getTagged, post } from './api.js';
import { card, chip, dialog, empty, field, form, h, head, mono, say, soft, table, told, when } from './dom.js';

const WAYS = { weaker: 'bad', stronger: 'good' };

/** What would change, in words. */
function changes(plan) {
  const { documents, findings, opened, closed } = plan.changes;
  const refused = plan.refused ?? [];
  if (!documents.length) return h('p', { class: 'note' }, 'Nothing would change: the documents are those in force.');
  return h('div', { class: 'form' },
    refused.length ? h('div', { class: 'note bad' }, h('h3', {}, 'It would be refused'), h('ul', { class: 'plain' }, refused.map((text) => h('li', {}, text)))) : '',
    findings.length ? h('div', {}, h('h3', {}, 'What it means'), h('ul', { class: 'plain' }, findings.map((one) => h('li', {}, chip(one.direction, WAYS[one.direction] ?? ''), ' ', one.message, ' ', soft(one.document))))) : '',
    opened.length ? h('div', {}, h('h3', {}, 'Becomes reachable'), h('ul', { class: 'plain' }, opened.map((one) => h('li', { class: 'diff-added' }, '+ ', mono(`${one.host}${one.path}`), ' ', soft(one.guards.join(', ')))))) : '',
    closed.length ? h('div', {}, h('h3', {}, 'Is not reachable any more'), h('ul', { class: 'plain' }, closed.map((one) => h('li', { class: 'diff-removed' }, '− ', mono(`${one.host}${one.path}`))))) : '',
    h('div', {}, h('h3', {}, 'Documents'), h('ul', { class: 'plain' }, documents.map((one) => h('li', {}, chip(one.change), ' ', mono(`${one.kind}/${one.name}`), one.fields.length ? h('ul', {}, one.fields.slice(0, 12).map((part) => h('li', { class: 'small' }, mono(part.path), ': ', h('span', { class: 'diff-removed' }, shown(part.before)), ' → ', h('span', { class: 'diff-added' }, shown(part.after))))) : '')))));
}

const shown = (value) => (value === null || value === undefined ? 'nothing' : typeof value === 'string' ? value : JSON.stringify(value));

async function compare(revision, may, again) {
  const whole = await get(`revisions/${revision.number}?texts=true`);
  const { etag } = await getTagged('revisions/active');
  let plan;
  let failure;
  try {
    plan = await post('plan', { files: whole.texts });
  } catch (problem) {
    failure = told(problem);
  }
  dialog(`Roll back to revision ${revision.number}`, (close) => {
    const cancel = h('button', { type: 'button', onclick: close }, may ? 'Cancel' : 'Close');
    if (failure) return h('div', { class: 'form' }, h('p', { class: 'note bad' }, failure), h('div', { class: 'actions' }, cancel));
    if (!may || !plan.changes.documents.length) return h('div', { class: 'form' }, changes(plan), h('div', { class: 'actions' }, cancel));
    const reason = field('Why', { name: 'reason', required: true, placeholder: 'the new limit refuses the nightly job' }, 'It stands in the history and in the audit trail.');
    return form([changes(plan), reason.element], `Roll back to ${revision.number}`, async () => {
      const made = await post(`revisions/${revision.number}/rollback`, { reason: reason.input.value }, { 'if-match': etag });
      close();
      say(`Revision ${made.revision.number} repeats revision ${revision.number}.`);
      await again();
    }, { cancel });
  });
}

function planner(may, again) {
  const chosen = field('Documents', { type: 'file', multiple: true, accept: '.yaml,.yml,.json' }, 'YAML or JSON files: the whole set, as it is to be. Nothing changes until you apply it.');
  const result = h('div', { class: 'form' });
  const plan = form([chosen.element], 'Plan', async () => {
    const files = await Promise.all([...chosen.input.files].map(async (file) => ({ name: file.name, text: await file.text() })));
    if (!files.length) throw new Error('Choose the files of the set first.');
    result.replaceChildren();
    const made = await post('plan', { files });
    result.append(changes(made));
    if (!may || made.refused.length || !made.changes.documents.length) return;
    const active = await getTagged('revisions/active').catch(() => undefined);
    const reason = field('Why', { name: 'reason', required: true });
    result.append(form([reason.element], 'Apply', async () => {
      const condition = active?.etag ? { 'if-match': active.etag } : { 'if-none-match': '*' };
      const done = await post('revisions', { files, reason: reason.input.value }, condition);
      say(`Revision ${done.revision.number} is the active one.`);
      await again();
    }));
  });
  return card('Plan a change', h('div', { class: 'in' }, plan, result));
}

async function show(main, me) {
  const may = me.permissions.includes('apply');
  const draw = async () => {
    const [state, page] = await Promise.all([get('state'), get('revisions?limit=50')]);
    const onStore = state.source === 'store';
    const standing = (row) => (row.number === page.active && onStore ? chip('active', 'accent') : row.outcome?.went === 'failed' ? chip('failed', 'bad') : '');
    main.replaceChildren(
      head('Revisions', 'Each change of the documents, with who made it and why. Any of them can come back.'),
      onStore ? '' : h('p', { class: 'note' }, 'This gateway takes its documents from files: change those, and they are live. With ', mono('bartizan run --store'), ' changes are planned, applied and rolled back here.'),
      card('History', page.revisions.length ? table('Revisions', [
        { label: 'Revision', tight: true, cell: (row) => [h('strong', {}, String(row.number)), ' ', standing(row)] },
        { label: 'Why', cell: (row) => [row.reason, row.restores ? soft(` (repeats ${row.restores})`) : '', row.outcome?.went === 'failed' ? h('p', { class: 'error small' }, row.outcome.detail) : ''] },
        { label: 'Who', cell: (row) => row.author },
        { label: 'When', tight: true, cell: (row) => when(row.createdAt) },
        { label: 'Documents', cell: (row) => String(row.documents) },
        { label: '', bare: true, tight: true, cell: (row) => onStore && row.number !== page.active && !me.narrow && h('button', { type: 'button', class: 'slim', onclick: (event) => opened(event.currentTarget, () => compare(row, may, draw)) }, may ? 'Compare and roll back' : 'Compare') },
      ], page.revisions) : empty('No revision yet', onStore ? 'Plan a set of documents below, or run `bartizan apply -f DIR --reason TEXT`.' : 'Revisions are made when the gateway runs on a store.')),
      onStore ? planner(may, draw) : '');
  };
  await draw();
}

async function opened(button, act) {
  button.disabled = true;
  try { await act(); } catch (problem) { say(told(problem)); } finally { button.disabled = false; }
}

export const revisions = { id: 'revisions', title: 'Revisions', needs: 'readDocuments', show };
