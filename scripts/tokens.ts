/**
 * A small reader of TypeScript source: enough to find imports, comments and identifiers without
 * being fooled by strings, templates, comments or regular expressions. TypeScript 7 ships no
 * compiler API, and a checker of borders must not depend on what it checks.
 */

export type TokenKind = 'word' | 'string' | 'template' | 'regex' | 'number' | 'punct' | 'comment'

export interface Token {
  readonly kind: TokenKind
  /** As written; of a string or a template without `${}`, what stands between the quotes. */
  readonly text: string
  /** Offset of its first character. */
  readonly at: number
}

/** After these words a `/` begins a regular expression, not a division. */
const wordsBeforeValue = new Set(
  'return typeof case in of delete void throw new else do instanceof await yield'.split(' '),
)
const space = /\s+/y
const lineComment = /\/\/[^\n]*|#![^\n]*/y
const blockComment = /\/\*[^]*?(?:\*\/|$)/y
const word = /[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*/uy
const number = /\.?\d[\w.]*/y
const string = /'(?:[^'\\\n]|\\[^])*'?|"(?:[^"\\\n]|\\[^])*"?/y
const regex = /\/(?![*/])(?:[^/\\[\n]|\\[^\n]|\[(?:[^\]\\\n]|\\[^\n])*\])+\/[a-z]*/y
const templatePart = /(?:[^`\\$]|\\[^]|\$(?!\{))*/y
const longPunct = /\+\+|--|=>|\?\.|\.\.\./y

/** All tokens in order, comments included, white space left out. */
export function tokens(source: string): Token[] {
  const found: Token[] = []
  /** For each open `{`: whether it is the `${` of a template, whose text goes on behind its `}`. */
  const braces: boolean[] = []
  let at = 0

  const match = (pattern: RegExp): string | null => {
    pattern.lastIndex = at
    return pattern.exec(source)?.[0] ?? null
  }
  const push = (kind: TokenKind, raw: string, text: string = raw): void => {
    found.push({ kind, text, at })
    at += raw.length
  }
  /** The text of a template up to its end or to the next `${`, standing behind "`" or `}`. */
  const pushTemplate = (): void => {
    const start = at
    at += 1
    const part = match(templatePart) ?? ''
    const opens = source.startsWith('${', at + part.length)
    const whole = source[start] === '`' && !opens
    found.push({ kind: whole ? 'string' : 'template', text: part, at: start })
    at += part.length + (opens ? 2 : 1)
    if (opens) braces.push(true)
  }

  while (at < source.length) {
    const blank = match(space)
    if (blank !== null) {
      at += blank.length
      continue
    }
    const char = source[at]
    const comment = char === '/' || (char === '#' && at === 0) ? commentHere(match) : null
    const name = match(word)
    const digits = match(number)
    const quoted = char === "'" || char === '"' ? match(string) : null
    const pattern = char === '/' && valueMayFollow(found) ? match(regex) : null
    if (comment !== null) push('comment', comment)
    else if (name !== null) push('word', name)
    else if (digits !== null) push('number', digits)
    else if (quoted !== null) push('string', quoted, quoted.slice(1).replace(/['"]$/, ''))
    else if (pattern !== null) push('regex', pattern)
    else if (char === '`') pushTemplate()
    else if (char === '}' && braces.pop() === true) pushTemplate()
    else {
      if (char === '{') braces.push(false)
      push('punct', match(longPunct) ?? String.fromCodePoint(source.codePointAt(at) ?? 0))
    }
  }
  return found
}

function commentHere(match: (pattern: RegExp) => string | null): string | null {
  return match(lineComment) ?? match(blockComment)
}

/**
 * Whether a value may begin behind the last token, so that `/` opens a regular expression. Behind
 * `)` and `}` both readings exist; division is taken, for a quote inside a division is impossible.
 */
function valueMayFollow(before: readonly Token[]): boolean {
  const last = before.findLast(token => token.kind !== 'comment')
  if (last === undefined) return true
  if (last.kind === 'punct') return ![')', ']', '}', '++', '--'].includes(last.text)
  return last.kind === 'word' && wordsBeforeValue.has(last.text)
}

/**
 * How one file refers to another. `worker` is `new URL('./x.ts', import.meta.url)`: the file runs
 * elsewhere, so it cannot be part of a circle. `computed` is an `import()` nobody can check.
 */
export type ImportKind = 'static' | 'dynamic' | 'worker' | 'computed'

export interface Import {
  readonly kind: ImportKind
  readonly specifier: string
  /** True only where the whole statement vanishes: `import type`, `export type`, `typeof import()`. */
  readonly isTypeOnly: boolean
  readonly at: number
}

/** Every import of a file, whatever its form. Takes the tokens of the whole file. */
export function importsOf(all: readonly Token[]): Import[] {
  return new ImportReader(all.filter(token => token.kind !== 'comment')).read()
}

class ImportReader {
  readonly #code: readonly Token[]
  readonly #found: Import[] = []

  constructor(code: readonly Token[]) {
    this.#code = code
  }

  read(): Import[] {
    for (const [i, token] of this.#code.entries()) {
      if (token.kind !== 'word' || this.#isOneOf(i - 1, '.', '?.', '#')) continue
      if (token.text === 'import') this.#import(i)
      else if (token.text === 'export') this.#export(i)
      else if (token.text === 'require' && this.#is(i + 1, '(')) this.#add('dynamic', i, i + 2)
      else if (token.text === 'URL' && this.#is(i + 1, '(')) this.#url(i)
    }
    return this.#found
  }

  #import(i: number): void {
    if (this.#is(i + 1, '(')) {
      const isType = this.#is(i - 1, 'typeof')
      if (this.#string(i + 2) !== null) this.#add('dynamic', i, i + 2, isType)
      else if (!this.#is(i + 2, ')')) this.#found.push(computed(this.#code[i]))
    } else if (this.#string(i + 1) !== null) {
      this.#add('static', i, i + 1)
    } else if (this.#is(i + 1, '.')) {
      if (this.#is(i + 3, 'resolve') && this.#is(i + 4, '(')) this.#add('worker', i, i + 5)
    } else if (!this.#is(i + 1, ':')) {
      const specifier = this.#fromAfter(i + 1)
      // `import type from` and `import type, {} from` bind a value that is called `type`.
      const isType = this.#is(i + 1, 'type') && specifier !== i + 3 && !this.#is(i + 2, ',')
      this.#add('static', i, specifier, isType)
    }
  }

  #export(i: number): void {
    const isType = this.#is(i + 1, 'type')
    const start = isType ? i + 2 : i + 1
    if (this.#is(start, '*')) this.#add('static', i, this.#fromAfter(start), isType)
    if (!this.#is(start, '{')) return
    let end = start
    while (end < this.#code.length && !this.#is(end, '}')) end += 1
    if (this.#is(end + 1, 'from')) this.#add('static', i, end + 2, isType)
  }

  /** `new URL('./x.ts', import.meta.url)` names a file of ours; any other address does not. */
  #url(i: number): void {
    const isOurs = /^\.\.?\/.*\.ts$/.test(this.#string(i + 2) ?? '')
    if (isOurs && this.#is(i + 4, 'import') && this.#is(i + 6, 'meta'))
      this.#add('worker', i, i + 2)
  }

  /** The index of the specifier of `… from 'x'`, looked for from `start` on; -1 without one. */
  #fromAfter(start: number): number {
    for (let i = start; i < this.#code.length; i++) {
      if (this.#is(i, 'from') && this.#string(i + 1) !== null) return i + 1
      if (this.#is(i, ';') || (i > start && this.#isOneOf(i, 'import', 'export'))) return -1
    }
    return -1
  }

  /** Adds the import that begins at token `start`, unless no string stands at `specifier`. */
  #add(kind: ImportKind, start: number, specifier: number, isTypeOnly = false): void {
    const text = this.#string(specifier)
    const at = this.#code[start]?.at ?? 0
    if (text !== null) this.#found.push({ kind, specifier: text, isTypeOnly, at })
  }

  #is(index: number, text: string): boolean {
    const token = this.#code[index]
    return token?.text === text && (token.kind === 'word' || token.kind === 'punct')
  }

  #isOneOf(index: number, ...texts: string[]): boolean {
    return texts.some(text => this.#is(index, text))
  }

  #string(index: number): string | null {
    const token = this.#code[index]
    return token?.kind === 'string' ? token.text : null
  }
}

function computed(token: Token | undefined): Import {
  return { kind: 'computed', specifier: '', isTypeOnly: false, at: token?.at ?? 0 }
}

/** `line:column`, both from 1, of an offset. */
export function placeOf(source: string, at: number): string {
  const before = source.slice(0, at)
  const line = before.split('\n').length
  return `${String(line)}:${String(at - before.lastIndexOf('\n'))}`
}
