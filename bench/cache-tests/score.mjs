// Scores of a run of the public HTTP caching tests: `node score.mjs SUITE RESULTS.json`.
//
// One object on standard output: how many tests of each kind passed and how many there are, and those that did not. A test
// counts as passed only if those it depends on passed too, as on the suite's own pages.

import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [suite, file] = process.argv.slice(2)
const load = name => import(pathToFileURL(path.resolve(suite, name)))
const { determineTestResult, resultTypes } = await load('test-engine/lib/results.mjs')
const { default: suites } = await load('tests/index.mjs')
const results = JSON.parse(fs.readFileSync(file))

const scores = { required: { passed: 0, all: 0 }, optimal: { passed: 0, all: 0 } }
const failed = []
for (const test of suites.flatMap(one => one.tests)) {
  const kind = test.kind || 'required'
  if (test.browser_only || !(kind in scores)) continue
  scores[kind].all += 1
  const result = determineTestResult(suites, test.id, results)
  if (result === resultTypes.pass) {
    scores[kind].passed += 1
  } else {
    const why = results[test.id] && results[test.id][1]
    failed.push({ id: test.id, kind, why: result === resultTypes.dependency_fail ? 'depends on another' : why || '' })
  }
}
console.log(JSON.stringify({ ...scores, failed }))
