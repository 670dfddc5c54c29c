// Drives the page in a real browser, as somebody who has just started a gateway would.
//
// Started as `node drive.mjs MODE`, with what the test knows as JSON on standard input; prints one line per thing that
// held, and ends with 1 and the reason at the first that did not. `SHOTS` names a folder for pictures.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const given = JSON.parse(readFileSync(0, 'utf8'));
const PASSWORD = 'vexed quince by the window';
const SECTIONS = ['overview', 'routes', 'refusals', 'revisions', 'keys', 'models', 'people', 'trail'];

const held = (what) => console.log(`ok: ${what}`);
const complaints = [];

const browser = await chromium.launch({ executablePath: given.chromium, args: ['--no-sandbox', '--disable-dev-shm-usage'] });

async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: 'light', ...options });
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(String(error)));
  // What the policy forbids is told on the console; so is a refused request, which some steps want.
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) complaints.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(given.admin)) complaints.push(`asks ${request.url()}`);
  });
  return page;
}

async function shot(page, name) {
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/${name}.png` });
}

// Playwright's own waiting for a function evaluates text in the page, which the page's policy forbids, as it should.
async function until(what, wanted, ask) {
  for (let tries = 0; tries < 100; tries += 1) {
    if (await ask() === wanted) return;
    await new Promise((wake) => setTimeout(wake, 100));
  }
  assert.fail(what);
}

async function section(page, name) {
  await page.goto(`${given.admin}/console/#/${name}`);
  const isThere = (wanted) => Boolean(document.querySelector(`nav a[aria-current][href="#/${wanted}"]`) && document.querySelector('main .section h1'));
  await until(`${name} is shown`, true, () => page.evaluate(isThere, name));
}

async function accessible(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }));
  const told = violations.map((one) => `${one.id}: ${one.nodes.map((node) => `${node.target} ${node.failureSummary}`).join('; ')}`);
  assert.deepEqual(told, [], what);
}

async function setPassword(page) {
  await page.goto(given.console);
  await page.getByLabel('New password').waitFor();
  assert.ok(!page.url().includes('link='), 'the link does not stay in the address');
  await accessible(page, 'the form of the link');
  await shot(page, 'welcome');
  const fill = async (password) => {
    await page.getByLabel('Name').fill('ann');
    await page.getByLabel('New password').fill(password);
    await page.getByLabel('The same again').fill(password);
    await page.getByRole('button', { name: 'Set and sign in' }).click();
  };
  await fill('Password-2026!');
  await page.getByText('Choose another password').waitFor();
  held('a common password is refused where it is typed');
  await fill(PASSWORD);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  held('the link sets a password and signs in');
  const cookies = await page.context().cookies();
  const cookie = cookies.find((one) => one.name === 'bartizan');
  assert.ok(cookie?.httpOnly && cookie.sameSite === 'Strict', JSON.stringify(cookies));
  assert.equal(await page.evaluate(() => document.cookie), '');
  held('no script can read the session');
}

async function everySection(page) {
  const state = await page.context().storageState();
  for (const [name, options] of [
    ['light', {}], ['dark', { colorScheme: 'dark' }], ['phone', { viewport: { width: 390, height: 844 } }],
  ]) {
    const other = await open({ storageState: state, ...options });
    for (const one of SECTIONS) {
      await section(other, one);
      if (one === 'refusals') await other.locator('details.refusal summary').first().click();
      await shot(other, `${name}-${one}`);
      await accessible(other, `${name} ${one}`);
      const over = await other.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${name} ${one} is ${over} px too wide`);
    }
    await other.context().close();
  }
  held('every section is accessible and fits, light, dark and on a phone');
}

async function keyboard(page) {
  await section(page, 'overview');
  await page.reload();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to content');
  await page.getByRole('link', { name: 'Routes' }).focus();
  await page.keyboard.press('Enter');
  await until('the focus follows', 'H1 Routes', () => page.evaluate(() => `${document.activeElement?.tagName} ${document.activeElement?.textContent}`));
  held('the keyboard reaches everything, and the focus goes to what was opened');
}

async function refusal(page) {
  await section(page, 'refusals');
  await page.locator('details.refusal', { hasText: 'CredentialMissing' }).first().locator('summary').click();
  await page.getByText('What would change it').first().waitFor();
  await page.getByText('a credential of the kind that').first().waitFor();
  held('a refusal tells its story');
}

const call = (key) => fetch(`${given.plain}/orders`, { headers: { 'x-api-key': key } }).then((answer) => answer.status);

async function key(page) {
  await section(page, 'keys');
  await page.getByRole('button', { name: 'New key' }).click();
  await page.getByLabel('Consumer').fill('demo');
  await page.getByLabel('Label').fill('by the page');
  await accessible(page, 'the form of a key');
  await page.getByRole('button', { name: 'Make the key' }).click();
  await page.getByRole('heading', { name: 'The key, shown this once' }).waitFor();
  const text = (await page.locator('dialog pre').textContent()).trim();
  await shot(page, 'key');
  await page.getByRole('button', { name: 'I have kept it' }).click();
  await until('the key works', 200, () => call(text));
  assert.ok(!(await page.content()).includes(text), 'it is not shown again');
  const row = page.getByRole('row', { name: /by the page/ });
  await row.getByRole('button', { name: /Revoke/ }).click();
  await page.locator('dialog').getByRole('button', { name: 'Revoke' }).click();
  await until('the key is refused', 401, () => call(text));
  held('a key is made, shown once, used and revoked');
}

async function models(page) {
  await section(page, 'models');
  const text = await page.locator('pre').first().textContent();
  assert.ok(text.includes('/v1/chat/completions') && text.includes('"model":"sample"'), text);
  held('a model has a call to copy');
}

async function signOut(page) {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await accessible(page, 'signing in');
  await page.getByLabel('Name').fill('ann');
  await page.getByLabel('Password').fill('something else entirely');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('do not belong together').waitFor();
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'API keys' }).waitFor();
  const fresh = await open();
  await fresh.goto(given.console);
  await fresh.getByText('This link does not hold').waitFor();
  held('one signs out and in again, and the link is spent');
}

async function alerts(page) {
  await until('an alert is told on the first page', true, async () => {
    await page.reload();
    await section(page, 'overview');
    await page.getByRole('heading', { name: 'Alerts' }).waitFor();
    return page.getByText('an audit finds: BA-').first().isVisible();
  });
  await accessible(page, 'the first page with alerts');
  held('the first page tells what goes on');
}

async function revisions(page) {
  await section(page, 'revisions');
  await page.getByRole('button', { name: 'Compare and roll back' }).first().click();
  await page.locator('dialog').getByText('HeaderPolicy/mark').first().waitFor();
  await accessible(page, 'the comparison');
  await shot(page, 'rollback');
  await page.getByLabel('Why').fill('the mark confuses the shop');
  await page.getByRole('button', { name: 'Roll back to 1' }).click();
  await page.getByText('Revision 3 repeats revision 1.').waitFor();
  await page.getByRole('row', { name: /the mark confuses the shop/ }).getByText('active').waitFor();
  held('an older revision is compared and rolled back to');
  await page.getByLabel('Documents').setInputFiles(given.set);
  await page.getByRole('button', { name: 'Plan', exact: true }).click();
  await page.getByText('HeaderPolicy/mark').first().waitFor();
  await page.getByLabel('Why').fill('the mark again');
  await page.getByRole('button', { name: 'Apply', exact: true }).click();
  await page.getByText('Revision 4 is the active one.').waitFor();
  held('chosen files are planned and applied');
  await section(page, 'trail');
  await page.getByText('revision.rollback').first().waitFor();
}

try {
  const page = await open();
  if (process.argv[2] === 'store') {
    await setPassword(page);
    await alerts(page);
    await revisions(page);
  } else {
    await setPassword(page);
    await everySection(page);
    await keyboard(page);
    await refusal(page);
    await models(page);
    await key(page);
    await signOut(page);
  }
  assert.deepEqual(complaints, [], 'the browser complains');
  held('the browser had nothing to complain about');
} catch (error) {
  console.log(`failed: ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
