import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type FileEnd, FileReport, Report, type ReportEvent, totalLine } from './test-report.ts'

const entryFile = '/tree/tests/a.test.ts'
const fine: FileEnd = { durationMs: 100, problem: null, isStalled: false }

interface Ended {
  readonly id: number
  readonly name: string
  readonly parent?: number
  readonly ms?: number
  readonly type?: 'suite' | 'test'
  readonly skip?: string | true
  readonly todo?: string
  readonly error?: unknown
  readonly failureType?: string
}

function started(id: number, name: string, parent = 0): ReportEvent {
  return { type: 'test:start', data: { testId: id, name, parentId: parent, entryFile } }
}

function ended({ id, name, parent = 0, ms = 1, type = 'test', ...rest }: Ended): ReportEvent {
  const { error, failureType = 'testCodeFailure', ...marks } = rest
  const details = {
    duration_ms: ms,
    type,
    ...(error === undefined ? {} : { error: { cause: error, failureType } }),
  }
  const data = { name, testId: id, parentId: parent, entryFile, details, ...marks }
  return { type: error === undefined ? 'test:pass' : 'test:fail', data }
}

function said(message: string): ReportEvent {
  return { type: 'test:diagnostic', data: { message, entryFile } }
}

function fileReport(events: readonly ReportEvent[], end: FileEnd = fine): FileReport {
  const report = new FileReport('tests/a.test.ts')
  for (const event of events) report.add(event)
  report.end(end)
  return report
}

function fullText(...files: FileReport[]): string[] {
  const report = new Report()
  for (const file of files) report.add(file)
  return report.text(10).split('\n')
}

const suite = [
  started(1, 'relay'),
  started(2, 'passes an end on', 1),
  ended({ id: 2, name: 'passes an end on', parent: 1, ms: 30 }),
  ended({ id: 3, name: 'resets', parent: 1, ms: 20, error: new Error('boom') }),
  ended({ id: 1, name: 'relay', type: 'suite', error: 'x', failureType: 'subtestsFailed' }),
]

test('only leaf tests are counted, by the names of all that stands around them', () => {
  const report = fileReport(suite)
  assert.deepEqual(report.totals(), { passed: 1, failed: 1, skipped: 0 })
  assert.deepEqual(
    report.results.map(result => result.name),
    ['relay > passes an end on', 'relay > resets'],
  )
})

test('a test with subtests counts only when it fails by itself', () => {
  const child = ended({ id: 2, name: 'child', parent: 1 })
  const passed = fileReport([started(1, 'parent'), child, ended({ id: 1, name: 'parent' })])
  assert.deepEqual(passed.totals(), { passed: 1, failed: 0, skipped: 0 })
  const failed = fileReport([
    started(1, 'parent'),
    child,
    ended({ id: 1, name: 'parent', error: new Error('afterwards') }),
  ])
  assert.deepEqual(failed.totals(), { passed: 1, failed: 1, skipped: 0 })
})

test('skipped and unfinished tests count as skipped, with their reasons', () => {
  const report = fileReport([
    ended({ id: 1, name: 'a', skip: 'no haproxy here' }),
    ended({ id: 2, name: 'b', skip: true }),
    ended({ id: 3, name: 'c', todo: 'half done', error: new Error('not yet') }),
    ended({ id: 4, name: 'd' }),
  ])
  assert.deepEqual(report.totals(), { passed: 1, failed: 0, skipped: 3 })
  const lines = fullText(report)
  assert.ok(lines.includes('  tests/a.test.ts: a (no haproxy here)'))
  assert.ok(lines.includes('  tests/a.test.ts: b (no reason)'))
  assert.ok(lines.includes('  tests/a.test.ts: c (todo: half done)'))
  assert.equal(lines.at(-1), '1 passed, 0 failed, 3 skipped')
})

test('the total line is last and names skipped tests only where there are some', () => {
  assert.equal(fullText(fileReport(suite)).at(-1), '1 passed, 1 failed')
  assert.equal(totalLine({ passed: 0, failed: 0, skipped: 2 }), '0 passed, 0 failed, 2 skipped')
})

test('peers are listed with their versions and the tests that used them', () => {
  const lines = fullText(
    fileReport([
      ended({ id: 1, name: 'socks against curl' }),
      said('peer: curl 8.14.1'),
      said('peer: sing-box 1.14.4'),
      ended({ id: 2, name: 'http against curl' }),
      said('peer: curl 8.14.1'),
      said('something else'),
    ]),
    fileReport([ended({ id: 1, name: 'third' }), said('peer: curl 8.14.1')]),
  )
  const at = lines.indexOf('peers:')
  assert.deepEqual(lines.slice(at, at + 7), [
    'peers:',
    '  curl 8.14.1  (3 tests)',
    '    socks against curl',
    '    http against curl',
    '    third',
    '  sing-box 1.14.4  (1 test)',
    '    socks against curl',
  ])
})

test('the slowest tests come first, as many as asked for', () => {
  const report = new Report()
  report.add(fileReport([1, 2, 3].map(id => ended({ id, name: `t${String(id)}`, ms: id * 10 }))))
  const lines = report.text(2).split('\n')
  const at = lines.indexOf('slowest:')
  assert.deepEqual(lines.slice(at + 1, at + 4), [
    '       30 ms  tests/a.test.ts: t3',
    '       20 ms  tests/a.test.ts: t2',
    '',
  ])
})

test('a failure is shown in full, with what the file printed, and passing tests are not', () => {
  const printed = { type: 'test:stdout', data: { message: 'a \u001b[31mred\u001b[0m line\n' } }
  const text = fileReport([printed, ...suite]).text()
  assert.match(text, /^FAIL {2}tests\/a\.test\.ts {2}1 failed, 1 passed, 0\.1 s$/m)
  assert.match(text, /relay > resets\n {4}Error: boom\n/)
  assert.match(text, /\| a red line$/m)
  assert.doesNotMatch(text, /passes an end on|node:internal\/test_runner/)
  assert.equal(
    fileReport([printed, ended({ id: 1, name: 'a' })]).text(),
    'ok    tests/a.test.ts  1 passed, 0.1 s',
  )
})

test('a file that crashes, stalls or has no test is a failure of its own', () => {
  const gone = (how: object): ReportEvent => ({
    type: 'test:fail',
    data: { name: 'tests/a.test.ts', details: { error: how } },
  })
  const pass = ended({ id: 1, name: 'a' })
  const crashed = fileReport([pass, gone({ exitCode: 3, signal: null })])
  assert.deepEqual(crashed.totals(), { passed: 1, failed: 1, skipped: 0 })
  assert.equal(crashed.ownFailure, 'ended with exit code 3')
  assert.equal(fileReport([gone({ signal: 'SIGSEGV' })]).ownFailure, 'was ended by SIGSEGV')
  assert.equal(fileReport([]).ownFailure, 'reported no test')
  const stalled = fileReport([pass], { ...fine, problem: 'stood still', isStalled: true })
  assert.deepEqual(stalled.totals(), { passed: 1, failed: 1, skipped: 0 })
  assert.match(stalled.text(), /tests\/a\.test\.ts stood still/)
})

test('the exit code of a file adds nothing to the tests that failed in it', () => {
  const gone = { type: 'test:fail', data: { details: { error: { exitCode: 1 } } } }
  assert.deepEqual(fileReport([...suite, gone]).totals(), { passed: 1, failed: 1, skipped: 0 })
})

test('a file that cannot be loaded is told from one that crashed', () => {
  const printed = { type: 'test:stderr', data: { message: 'SyntaxError: no export named x\n' } }
  assert.equal(fileReport([printed]).failsToLoad(), true)
  assert.equal(fileReport([printed, ended({ id: 1, name: 'a' })]).failsToLoad(), false)
  assert.equal(fileReport([]).failsToLoad(), false)
})
