/**
 * Collects what test files report and turns it into text. Pure: it is fed events and gives lines,
 * so that the counting is tested without running a test.
 */
import { inspect, stripVTControlCharacters } from 'node:util'

/** The part of the events of `node:test` that the report reads; all else is passed over. */
export interface ReportEvent {
  readonly type: string
  readonly data: unknown
}

/** How one leaf test ended; a skipped or unfinished ("todo") test has a reason. */
export interface Result {
  readonly file: string
  /** Names of the suites around it and its own, ` > ` between them. */
  readonly name: string
  readonly outcome: 'passed' | 'failed' | 'skipped'
  readonly durationMs: number
  readonly reason: string
  /** True when it failed by running out of time. */
  readonly isTimeout: boolean
}

export interface Totals {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** How the process of a file ended. */
export interface FileEnd {
  readonly durationMs: number
  /** What went wrong with the process itself: a stall, processes left behind. */
  readonly problem: string | null
  /** True when it was killed because it stood still or did not end. */
  readonly isStalled: boolean
}

interface TestData {
  readonly name: string
  readonly nesting: number
  readonly testId: number
  readonly parentId: number | undefined
  readonly entryFile?: string
  readonly skip?: string | boolean
  readonly todo?: string | boolean
  readonly details: {
    readonly duration_ms: number
    readonly type?: string
    readonly error?: { readonly failureType?: string; readonly cause?: unknown }
  }
}

const outputLinesMax = 60
const runnerFrame =
  /\n +at .*node:(?:internal\/(?:test_runner|process|timers)|async_hooks).*?( \{)?(?=\n|$)/g

/** All results of one test file. */
export class FileReport {
  readonly file: string
  readonly results: Result[] = []
  /** Peers by `name version`, each with the names of the tests that used it. */
  readonly peers: Map<string, Set<string>> = new Map()
  /** The process failed while reporting no failing test, so it counts as one itself. */
  ownFailure: string | null = null
  isStalled = false
  durationMs = 0

  readonly #names = new Map<number, { name: string; parentId: number | undefined }>()
  readonly #parents = new Set<number>()
  readonly #failures: string[] = []
  readonly #output: string[] = []
  /** Of the test that ended last; what a test reports comes directly behind its end. */
  #last = ''
  #exit: string | null = null

  constructor(file: string) {
    this.file = file
  }

  add({ type, data }: ReportEvent): void {
    if (type === 'test:stdout' || type === 'test:stderr') {
      this.#output.push((data as { message: string }).message)
      return
    }
    if ((data as TestData).entryFile === undefined) {
      // The runner's own view of the file as one test; it says how the process ended.
      if (type === 'test:fail') this.#exit = exitText((data as TestData).details.error)
      return
    }
    if (type === 'test:start') {
      const { testId, name, parentId } = data as TestData
      this.#names.set(testId, { name, parentId })
    } else if (type === 'test:pass' || type === 'test:fail') {
      this.#end(data as TestData, type === 'test:fail')
    } else if (type === 'test:diagnostic') {
      this.#diagnose((data as { message: string }).message)
    }
  }

  /** The last call: the process of the file is gone. */
  end({ durationMs, problem, isStalled }: FileEnd): void {
    this.durationMs = durationMs
    this.isStalled = isStalled
    const hasFailed = this.results.some(result => result.outcome === 'failed')
    this.ownFailure =
      problem ??
      (hasFailed ? null : this.#exit) ??
      (this.results.length === 0 ? 'reported no test' : null)
    if (this.ownFailure !== null) this.#failures.push(`${this.file} ${this.ownFailure}`)
  }

  /** True when no test ran because the file, or one it imports, cannot be loaded. */
  failsToLoad(): boolean {
    const cannotLoad = /\bSyntaxError\b|ERR_MODULE_NOT_FOUND|ERR_\w*TYPESCRIPT/
    return this.results.length === 0 && cannotLoad.test(this.#output.join(''))
  }

  totals(): Totals {
    const count = (outcome: Result['outcome']): number =>
      this.results.filter(result => result.outcome === outcome).length
    const own = this.ownFailure === null ? 0 : 1
    return { passed: count('passed'), failed: count('failed') + own, skipped: count('skipped') }
  }

  /** One line when all is well; after a failure everything that explains it. */
  text(): string {
    const { passed, failed, skipped } = this.totals()
    const seconds = `${(this.durationMs / 1000).toFixed(1)} s`
    const skips = skipped > 0 ? `, ${String(skipped)} skipped` : ''
    if (failed === 0) return `ok    ${this.file}  ${String(passed)} passed${skips}, ${seconds}`
    return [
      `FAIL  ${this.file}  ${String(failed)} failed, ${String(passed)} passed${skips}, ${seconds}`,
      ...this.#failures.map(failure => indent(failure, '  ')),
      ...this.#outputText(),
      '',
    ].join('\n')
  }

  #end(test: TestData, isFailure: boolean): void {
    const name = this.#fullName(test)
    this.#last = name
    if (test.parentId !== undefined) this.#parents.add(test.parentId)
    const { error, type, duration_ms: durationMs } = test.details
    // A suite and a test with subtests are not counted, unless they fail by themselves.
    const isLeaf = type !== 'suite' && !this.#parents.has(test.testId)
    if (!isLeaf && (!isFailure || error?.failureType === 'subtestsFailed')) return

    const reason = reasonOf(test)
    const outcome = reason !== null ? 'skipped' : isFailure ? 'failed' : 'passed'
    const isTimeout = error?.failureType === 'testTimeoutFailure'
    this.results.push({
      file: this.file,
      name,
      outcome,
      durationMs,
      reason: reason ?? '',
      isTimeout,
    })
    if (outcome === 'failed') this.#failures.push(`${name}\n${indent(errorText(error), '  ')}`)
  }

  #diagnose(message: string): void {
    const [, peer] = /^peer:\s*(.+)$/.exec(message.trim()) ?? []
    if (peer === undefined) {
      // Said by the process about a test that was already over, such as a late rejection.
      if (/generated asynchronous activity|unhandledRejection|uncaughtException/.test(message)) {
        this.#failures.push(message)
      }
      return
    }
    const tests = this.peers.get(peer) ?? new Set()
    this.peers.set(peer, tests.add(this.#last))
  }

  #fullName(test: TestData): string {
    const names = [test.name]
    let parent = this.#names.get(test.parentId ?? 0)
    while (parent !== undefined) {
      names.unshift(parent.name)
      parent = this.#names.get(parent.parentId ?? 0)
    }
    return names.join(' > ')
  }

  #outputText(): string[] {
    const lines = stripVTControlCharacters(this.#output.join('')).trimEnd().split('\n')
    if (lines.join('') === '') return []
    const shown = lines.slice(-outputLinesMax)
    const cut = lines.length - shown.length
    const title = cut > 0 ? `output, without the first ${String(cut)} lines:` : 'output:'
    return [`  ${title}`, ...shown.map(line => `  | ${line}`)]
  }
}

/** What all files together come to. */
export class Report {
  readonly #files: FileReport[] = []

  add(file: FileReport): void {
    this.#files.push(file)
  }

  totals(): Totals {
    const sum = { passed: 0, failed: 0, skipped: 0 }
    for (const file of this.#files) {
      const { passed, failed, skipped } = file.totals()
      sum.passed += passed
      sum.failed += failed
      sum.skipped += skipped
    }
    return sum
  }

  /** The closing part: what failed, the peers, the slowest, the skipped, and the total line last. */
  text(slowest: number): string {
    const blocks = [this.#failed(), this.#peers(), this.#slowest(slowest), this.#skipped()]
    const filled = blocks.filter(block => block.length > 1).map(block => `\n${block.join('\n')}\n`)
    return `${filled.join('')}\n${totalLine(this.totals())}`
  }

  #results(outcome: Result['outcome']): Result[] {
    return this.#files.flatMap(file => file.results).filter(result => result.outcome === outcome)
  }

  #failed(): string[] {
    const own = this.#files.filter(file => file.ownFailure !== null)
    return [
      'failed:',
      ...this.#results('failed').map(({ file, name }) => `  ${file}: ${name}`),
      ...own.map(({ file, ownFailure }) => `  ${file} ${ownFailure ?? ''}`),
    ]
  }

  #peers(): string[] {
    const peers = new Map<string, Set<string>>()
    for (const file of this.#files) {
      for (const [peer, tests] of file.peers) {
        const all = peers.get(peer) ?? new Set()
        for (const test of tests) all.add(test)
        peers.set(peer, all)
      }
    }
    const names = [...peers.keys()].sort()
    const lines = names.flatMap(peer => {
      const tests = [...(peers.get(peer) ?? [])]
      return [`  ${peer}  (${plural(tests.length, 'test')})`, ...tests.map(test => `    ${test}`)]
    })
    return ['peers:', ...lines]
  }

  #slowest(count: number): string[] {
    const run = [...this.#results('passed'), ...this.#results('failed')]
    const slow = run.sort((a, b) => b.durationMs - a.durationMs).slice(0, count)
    const lines = slow.map(
      ({ file, name, durationMs }) => `  ${durationMs.toFixed(0).padStart(7)} ms  ${file}: ${name}`,
    )
    return ['slowest:', ...lines]
  }

  #skipped(): string[] {
    const lines = this.#results('skipped').map(
      ({ file, name, reason }) => `  ${file}: ${name} (${reason})`,
    )
    return ['skipped:', ...lines]
  }
}

/** `12 passed, 0 failed`, and the skipped only where there are some. */
export function totalLine({ passed, failed, skipped }: Totals): string {
  const skips = skipped > 0 ? `, ${String(skipped)} skipped` : ''
  return `${String(passed)} passed, ${String(failed)} failed${skips}`
}

export function plural(count: number, noun: string): string {
  return `${String(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** Why a test does not count, or `null`. A "todo" test may fail; either way it is not done. */
function reasonOf({ skip, todo }: TestData): string | null {
  if (skip !== undefined && skip !== false) return typeof skip === 'string' ? skip : 'no reason'
  if (todo === undefined || todo === false) return null
  return typeof todo === 'string' && todo !== '' ? `todo: ${todo}` : 'todo'
}

function errorText(error: TestData['details']['error']): string {
  const cause = error?.cause ?? error
  if (typeof cause === 'string') return cause
  // An assertion says all in its message; its properties would say it again.
  const isAssertion = cause instanceof Error && 'code' in cause && cause.code === 'ERR_ASSERTION'
  const text = isAssertion ? (cause.stack ?? cause.message) : inspect(cause, { depth: 4 })
  return text.replace(runnerFrame, '$1')
}

function exitText(error: unknown): string {
  const { exitCode, signal } = error as { exitCode?: number | null; signal?: string | null }
  if (typeof signal === 'string') return `was ended by ${signal}`
  return `ended with exit code ${String(exitCode ?? 'unknown')}`
}

function indent(text: string, by: string): string {
  return text.replace(/^(?=.)/gm, by)
}
