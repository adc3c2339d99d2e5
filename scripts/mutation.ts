/**
 * One deliberate bug, written so that it can be reviewed as text (`tests/mutations/NAME.mutation`):
 *
 *     An end of one side is passed on as a reset.
 *
 *     file: src/core/relay.ts
 *     tests: src/core/relay.test.ts tests/lifecycle/half-close*.test.ts
 *     --- old
 *     await way.sink.closeWrite()
 *     --- new
 *     way.sink.reset(endedError())
 *
 * The first paragraph says what the bug is. `tests` are globs of files that must catch it. More
 * lines are optional: `env: NAME=value …` for the tests, `timeout: 10` in seconds for each test,
 * `hang: true` if running out of that time is how the bug shows. The old text stands exactly once
 * in the file; it may be part of a line or several lines.
 */
export interface Mutation {
  readonly name: string
  readonly what: string
  readonly file: string
  readonly tests: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly mayHang: boolean
  readonly oldText: string
  readonly newText: string
}

const keys = ['file', 'tests', 'env', 'timeout', 'hang']

/** Reads one mutation file; throws an error with a plain message for a malformed one. */
export function parseMutation(name: string, text: string): Mutation {
  const parts = /^([^]*?)\n--- old\n([^]*?)\n--- new\n?([^]*)$/.exec(text.replaceAll('\r\n', '\n'))
  const [, head = '', oldText = '', newText = ''] = parts ?? []
  if (parts === null) throw new Error('has no "--- old" and "--- new" part')
  const [what = '', ...lines] = head.trim().split(/\n\s*\n/)
  const fields = new Map<string, string>()
  for (const line of lines.join('\n').split('\n').filter(Boolean)) {
    const [, key = '', value = ''] = /^(\w+):\s*(.*?)\s*$/.exec(line) ?? []
    if (!keys.includes(key)) throw new Error(`has a line it should not have: "${line}"`)
    fields.set(key, value)
  }
  const file = fields.get('file') ?? ''
  const tests = split(fields.get('tests'))
  const timeout = Number(fields.get('timeout') ?? '120')
  if (what === '') throw new Error('does not say what the bug is')
  if (file === '') throw new Error('names no file')
  if (tests.length === 0) throw new Error('names no tests')
  if (!(timeout > 0)) throw new Error('has a timeout that is no number of seconds')
  return {
    name,
    what: what.replaceAll('\n', ' '),
    file,
    tests,
    env: Object.fromEntries(split(fields.get('env')).map(parseVariable)),
    timeoutMs: timeout * 1000,
    mayHang: fields.get('hang') === 'true',
    oldText,
    newText: newText.replace(/\n$/, ''),
  }
}

/** `source` with the bug in it. Throws when its old text does not stand there exactly once. */
export function mutate(source: string, { oldText, newText, file }: Mutation): string {
  const count = oldText === '' ? 0 : source.split(oldText).length - 1
  if (count !== 1) throw new Error(`finds its old text ${String(count)} times in ${file}, not once`)
  if (oldText === newText) throw new Error('changes nothing')
  return source.replace(oldText, () => newText)
}

function split(text = ''): string[] {
  return text.split(/\s+/).filter(Boolean)
}

function parseVariable(text: string): [string, string] {
  const [name = '', ...value] = text.split('=')
  return [name, value.join('=')]
}
