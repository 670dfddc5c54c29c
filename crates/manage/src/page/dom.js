// Elements without HTML: text stays text, whatever it says.

export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value') element.value = value;
    else element.setAttribute(name === 'class' ? 'class' : name, value === true ? '' : String(value));
  }
  element.append(...children.flat(9).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** Says something to eyes and screen readers, for a while. */
let quiet;
export function say(text) {
  const live = document.getElementById('live');
  live.textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => { live.textContent = ''; }, 7000);
}

export const chip = (text, kind = '') => h('span', { class: `chip ${kind}` }, text);
export const mono = (text) => h('code', {}, text);
export const soft = (text) => h('span', { class: 'soft' }, text);

/** A text in which `words between backticks` are code. */
export const rich = (text) => String(text).split('`').map((part, at) => (at % 2 ? mono(part) : part));

/** A section's head: what it is, what it is for, what one can do. */
export function head(title, sentence, ...actions) {
  return h('div', { class: 'head' }, h('div', {}, h('h1', { tabindex: '-1' }, title), h('p', {}, sentence)), h('div', { class: 'row' }, ...actions));
}

export function card(title, body, ...actions) {
  const content = h('section', { class: 'card' }, title && h('header', {}, h('h2', {}, title), h('div', { class: 'row' }, ...actions)), body);
  return content;
}

/** An empty state says what would be here, and how it comes to be. */
export function empty(title, sentence, ...more) {
  return h('div', { class: 'empty' }, h('h2', { class: 'h3' }, title), h('p', {}, rich(sentence)), ...more);
}

/** A table; on a phone each row is a card. Columns: { label, cell(row), tight, bare }. */
export function table(caption, columns, rows) {
  return h('div', { class: 'scroll' }, h('table', { class: 'cards', 'aria-label': caption, role: 'table' },
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, columns.map((column) => h('th', { scope: 'col', role: 'columnheader' }, column.label || h('span', { class: 'unseen' }, 'Actions'))))),
    h('tbody', { role: 'rowgroup' }, rows.map((row) => h('tr', { role: 'row' }, columns.map((column) => {
      const content = column.cell(row);
      const none = content === undefined || content === null || content === '' || content === false;
      const kinds = [column.tight && 'tight', column.bare && 'bare', none && 'none'].filter(Boolean).join(' ');
      return h('td', { role: 'cell', class: kinds || undefined, 'data-label': column.label }, none ? '' : h('div', {}, content));
    }))))));
}

const spans = [[60, 's'], [60, 'min'], [24, 'h'], [365, 'd'], [Infinity, 'y']];

/** A moment as people say it; the exact one when pointed at. */
export function when(text) {
  if (!text) return undefined;
  const seconds = (Date.now() - Date.parse(text)) / 1000;
  let size = Math.abs(seconds);
  let unit = 's';
  for (const [most, name] of spans) {
    unit = name;
    if (size < most) break;
    size /= most;
  }
  const span = `${Math.max(0, Math.floor(size))} ${unit}`;
  const words = Math.abs(seconds) < 5 ? 'now' : seconds > 0 ? `${span} ago` : `in ${span}`;
  return h('time', { datetime: text, title: new Date(text).toLocaleString() }, words);
}

/** A text to be taken away, with a button that copies it. */
export function copyable(text, label = 'Copy') {
  const shown = h('pre', { tabindex: '0' }, text);
  const button = h('button', { type: 'button', onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      say('Copied.');
    } catch {
      getSelection().selectAllChildren(shown);
      say('Selected; copy it with the keyboard.');
    }
  } }, label);
  return h('div', { class: 'copy' }, shown, button);
}

/** A labelled field. */
export function field(label, attributes = {}, hint = '') {
  const { options, ...rest } = attributes;
  const input = options
    ? h('select', rest, options.map(([value, text]) => h('option', { value, selected: value === attributes.value }, text ?? value)))
    : h('input', { autocapitalize: 'none', spellcheck: 'false', ...rest });
  return { input, element: h('label', {}, h('span', {}, label), hint && h('span', { class: 'hint' }, hint), input) };
}

/** A form that says what went wrong beside its button, and cannot be sent twice. */
export function form(parts, label, submit, more = {}) {
  const error = h('p', { class: 'error', role: 'alert' });
  const button = h('button', { class: `main ${more.kind ?? ''}`, type: 'submit' }, label);
  return h('form', { class: 'form', novalidate: more.novalidate, onsubmit: async (event) => {
    event.preventDefault();
    error.textContent = '';
    button.disabled = true;
    try {
      await submit();
    } catch (problem) {
      error.textContent = told(problem);
    } finally {
      button.disabled = false;
    }
  } }, parts, error, h('div', { class: 'actions' }, more.cancel, button));
}

/** What went wrong, in words; problems of documents with their places. */
export function told(problem) {
  const places = (problem.problems ?? []).slice(0, 5).map((one) => {
    const place = one.file ? `${one.file}:${one.line ?? 1}: ` : '';
    return `${place}${one.message ?? ''}`;
  });
  return [problem.message, ...places].join('\n');
}

/** A dialog; `build(close)` gives its content. The focus goes back where it was. */
export function dialog(title, build) {
  const heading = h('h2', { id: 'dialog-title' }, title);
  const box = h('dialog', { 'aria-labelledby': 'dialog-title' });
  const close = () => box.close();
  box.append(h('div', { class: 'form' }, heading, build(close)));
  box.addEventListener('close', () => box.remove());
  document.body.append(box);
  box.showModal();
  return box;
}

/** Asks before something that cannot be undone. */
export function confirm(title, sentence, label, act) {
  dialog(title, (close) => form([h('p', {}, sentence)], label, async () => { await act(); close(); },
    { kind: 'danger', cancel: h('button', { type: 'button', onclick: close }, 'Cancel') }));
}
