/**
 * The borders inside `src`: who may import whom, and which names may stand where.
 * `node scripts/borders.ts` checks them and prints `file:line:column message` for each violation.
 *
 * The tables come first and are the documentation; the checker below only reads them. Unit tests
 * (`*.test.ts`) may import what they like from `src`, as long as no circle arises.
 */
import { globSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, normalize } from 'node:path/posix'
import { type Import, importsOf, placeOf, type Token, tokens } from './tokens.ts'

export interface Room {
  readonly floor: number
  /** A file, a folder, or `folder/*`: each entry of the folder is then a room of its own. */
  readonly path: string
  /** Besides itself: whole floors by number, rooms by path. */
  readonly sees: readonly (number | string)[]
  /** Rooms of which it sees the types only (`import type`). */
  readonly seesTypesOf?: readonly string[]
}

const beneathNet = ['src/wire', 'src/tls', 'src/native', 'src/config', 'src/testing']

/** Arrows go down. A file that fits no line has no place yet: give its folder one here. */
export const rooms: readonly Room[] = [
  { floor: 6, path: 'src/cli', sees: ['src/index.ts'] },

  { floor: 5, path: 'src/index.ts', sees: [4, 3, 2, 1, 'src/control'] },
  { floor: 5, path: 'src/control', sees: [4, 3, 2, 1] },
  { floor: 5, path: 'src/sendspin', sees: [2, 1] },

  // The only file that knows all protocols; the engine knows none by name.
  { floor: 4, path: 'src/builtin.ts', sees: [3, 2, 1] },
  { floor: 4, path: 'src/engine', sees: ['src/routing', 2, 1], seesTypesOf: ['src/observe'] },
  { floor: 4, path: 'src/observe', sees: [2, 1] },

  // What two rooms of this floor need stands on floor 2; composition happens in the engine.
  { floor: 3, path: 'src/transport/*', sees: [2, 1] },
  { floor: 3, path: 'src/protocol/*', sees: [2, 1] },
  { floor: 3, path: 'src/routing', sees: [2, 1] },

  // wire, tls, native, config, testing <- net <- http <- mux, dns; contract is what a protocol is.
  { floor: 2, path: 'src/contract', sees: ['src/net', ...beneathNet, 1] },
  { floor: 2, path: 'src/mux', sees: ['src/http', 'src/net', ...beneathNet, 1] },
  { floor: 2, path: 'src/dns', sees: ['src/http', 'src/net', ...beneathNet, 1] },
  { floor: 2, path: 'src/http', sees: ['src/net', ...beneathNet, 1] },
  { floor: 2, path: 'src/net', sees: [...beneathNet, 1] },
  { floor: 2, path: 'src/wire', sees: [1] },
  { floor: 2, path: 'src/tls', sees: [1] },
  { floor: 2, path: 'src/native', sees: [1] },
  { floor: 2, path: 'src/config', sees: [1] },
  { floor: 2, path: 'src/testing', sees: [1] },

  { floor: 1, path: 'src/core', sees: ['src/bytes'] },
  { floor: 1, path: 'src/bytes', sees: [] },
]

/**
 * Pure files: bytes to values and back, no sockets, timers, promises, clock or randomness. They
 * import these files and each other and nothing of Node; src/wire may use the named packages.
 */
export const pure = {
  files: /^src\/(bytes|wire)\/|\/wire\.ts$/,
  see: /^src\/(bytes|wire)\/|^src\/core\/(errors|endpoint)\.ts$|\/wire\.ts$/,
  packagesOfWire: ['ipaddr.js'],
}

/** Modules that only some files may import. */
export const modulesOf: readonly { modules: readonly string[]; only: RegExp; why: string }[] = [
  {
    modules: ['node:net', 'node:dgram'],
    only: /^src\/(net|native)\//,
    why: 'sockets are opened in src/net and src/native only',
  },
  { modules: ['koffi'], only: /^src\/native\/ffi\.ts$/, why: 'only src/native/ffi.ts loads it' },
  {
    modules: ['node:timers', 'node:timers/promises'],
    only: /^src\/core\/clock\.ts$/,
    why: 'time comes from src/core/clock.ts, so that tests can turn it',
  },
]

/** Names that only some files may mention. */
export const namesOf: readonly {
  names: readonly string[]
  only: RegExp
  why: string
  /** True: the name counts only where something is taken from it, as in `process.env`. */
  asObject?: true
}[] = [
  {
    names: ['setTimeout', 'setInterval'],
    only: /^src\/core\/clock\.ts$/,
    why: 'time comes from src/core/clock.ts, so that tests can turn it',
  },
  {
    names: ['setImmediate'],
    only: /^src\/core\/clock\.ts$|^src\/testing\/sim[^/]*\.ts$/,
    why: 'time comes from src/core/clock.ts, so that tests can turn it',
  },
  {
    names: ['process', 'console'],
    asObject: true,
    only: /^src\/(?!(core|bytes|wire|protocol|transport|engine)\/)/,
    why: 'this folder knows neither the process nor the console',
  },
]

/** A comment may promise work only with the number of the issue: `(#12)`. */
const promise = /\b(?:TODO|FIXME)\b(?! ?\(#\d+\))/

export interface Violation {
  readonly file: string
  readonly at: number
  readonly message: string
}

interface SourceFile {
  readonly path: string
  readonly tokens: readonly Token[]
  readonly imports: readonly Import[]
}

/** Checks a whole tree, given as path -> text with paths from the root of the checkout. */
export function check(tree: ReadonlyMap<string, string>): Violation[] {
  const files = [...tree].map(([path, text]): SourceFile => {
    const all = tokens(text)
    return { path, tokens: all, imports: importsOf(all) }
  })
  const ours = files.filter(file => file.path.startsWith('src/'))
  return [
    ...files.flatMap(checkPromises),
    ...ours.flatMap(checkOutside),
    ...ours.filter(file => !isTest(file.path)).flatMap(checkPlace),
    ...checkCircles(ours),
  ].sort((a, b) => a.file.localeCompare(b.file) || a.at - b.at)
}

function checkPromises(file: SourceFile): Violation[] {
  return file.tokens.flatMap(token => {
    const found = token.kind === 'comment' ? promise.exec(token.text) : null
    if (found === null) return []
    const message = `${found[0]} without the number of an issue, as in ${found[0]} (#12)`
    return [{ file: file.path, at: token.at + found.index, message }]
  })
}

/** Nothing of `src` depends on code that is not shipped; a test may read data from there. */
function checkOutside(file: SourceFile): Violation[] {
  return file.imports.flatMap(one => {
    const path = resolve(file.path, one)
    if (path === null) return []
    const at = { file: file.path, at: one.at }
    if (isTest(path)) return [{ ...at, message: `nobody imports a test (${path})` }]
    if (path.startsWith('src/')) return []
    if (isTest(file.path) && !path.endsWith('.ts')) return []
    return [{ ...at, message: `src may not import ${path}: it lies outside of src` }]
  })
}

function checkPlace(file: SourceFile): Violation[] {
  const room = roomOf(file.path)
  if (room === null) {
    const message = 'no room for this file: add its folder to the table in scripts/borders.ts'
    return [{ file: file.path, at: 0, message }]
  }
  const imports = file.imports.flatMap(one => {
    const message = importProblem(file.path, room, one)
    return message === null ? [] : [{ file: file.path, at: one.at, message }]
  })
  return [...imports, ...checkNames(file)]
}

/** What is wrong with one import of a file that is not a test, or `null`. */
function importProblem(from: string, room: Place, one: Import): string | null {
  if (one.kind === 'computed') return 'import() of a computed name cannot be checked'
  const path = resolve(from, one)
  if (path === null) return packageProblem(from, one.specifier)
  if (!path.startsWith('src/')) return null // told by checkOutside
  if (pure.files.test(from) && !pure.see.test(path)) return `a pure file may not import ${path}`
  const target = roomOf(path)
  if (target === null || target.name === room.name) return null
  if (sees(room, target, one.isTypeOnly)) return null
  const onlyTypes = room.row.seesTypesOf?.includes(target.row.path) === true
  return onlyTypes
    ? `${room.name} may import only types of ${target.name}: use "import type"`
    : `${room.name} (floor ${String(room.row.floor)}) may not import ${target.name} (floor ${String(target.row.floor)})`
}

function packageProblem(from: string, specifier: string): string | null {
  const name = isBuiltin(specifier) ? `node:${specifier.replace(/^node:/, '')}` : specifier
  if (pure.files.test(from)) {
    const isGiven = from.startsWith('src/wire/') && pure.packagesOfWire.includes(specifier)
    return isGiven ? null : `a pure file may not import ${name}`
  }
  for (const { modules, only, why } of modulesOf) {
    const isMeant = modules.some(module => name === module || name.startsWith(`${module}/`))
    if (isMeant && !only.test(from)) return `${name} may not be imported here: ${why}`
  }
  for (const { names, asObject, only, why } of namesOf) {
    const isMeant = asObject === true && names.some(object => name === `node:${object}`)
    if (isMeant && !only.test(from)) return `${name} may not be imported here: ${why}`
  }
  return null
}

function checkNames(file: SourceFile): Violation[] {
  const found: Violation[] = []
  const code = file.tokens.filter(token => token.kind !== 'comment')
  for (const [i, token] of code.entries()) {
    const before = code[i - 1]?.text ?? ''
    if (token.kind !== 'word' || before === '#') continue
    for (const { names, only, why, asObject } of namesOf) {
      if (!names.includes(token.text) || only.test(file.path)) continue
      const isProperty = before.endsWith('.') && code[i - 2]?.text !== 'globalThis'
      const isUsed = ['.', '?.', '['].includes(code[i + 1]?.text ?? '')
      if (asObject === true && (isProperty || !isUsed)) continue
      found.push({ file: file.path, at: token.at, message: `${token.text}: ${why}` })
    }
  }
  return found
}

/** Where a file stands: its line of the table, and the name of its room. */
interface Place {
  readonly row: Room
  readonly name: string
}

function roomOf(path: string): Place | null {
  for (const row of rooms) {
    if (row.path.endsWith('/*')) {
      const folder = row.path.slice(0, -1)
      const [entry] = path.slice(folder.length).split('/')
      if (path.startsWith(folder) && entry !== undefined) {
        return { row, name: folder + entry.replace(/\.ts$/, '') }
      }
    } else if (path === row.path || path.startsWith(`${row.path}/`)) {
      return { row, name: row.path }
    }
  }
  return null
}

function sees(room: Place, target: Place, isTypeOnly: boolean): boolean {
  const { sees: seen, seesTypesOf = [] } = room.row
  if (seen.includes(target.row.floor) || seen.includes(target.row.path)) return true
  return isTypeOnly && seesTypesOf.includes(target.row.path)
}

/** The path an import leads to inside the checkout, or `null` for a package or a part of Node. */
function resolve(from: string, { kind, specifier }: Import): string | null {
  if (kind === 'computed') return null
  if (/^\.\.?(\/|$)/.test(specifier)) return normalize(join(dirname(from), specifier))
  if (specifier === 'sluice') return 'src/index.ts'
  if (specifier.startsWith('sluice/')) return `src/${specifier.slice('sluice/'.length)}/index.ts`
  return null
}

function isTest(path: string): boolean {
  return path.endsWith('.test.ts')
}

/** One violation for each knot of files that import each other, with a shortest way round. */
function checkCircles(files: readonly SourceFile[]): Violation[] {
  const edges = new Map<string, Map<string, number>>()
  for (const file of files) {
    const targets = new Map<string, number>()
    for (const one of file.imports) {
      const path = one.kind === 'worker' ? null : resolve(file.path, one)
      if (path !== null && !targets.has(path)) targets.set(path, one.at)
    }
    edges.set(file.path, targets)
  }
  const found: Violation[] = []
  const told = new Set<string>()
  for (const start of [...edges.keys()].sort()) {
    const circle = told.has(start) ? null : wayRound(edges, start)
    const [, next] = circle ?? []
    if (circle === null || next === undefined) continue
    for (const path of circle) told.add(path)
    const message = `circle of imports: ${circle.join(' -> ')}`
    found.push({ file: start, at: edges.get(start)?.get(next) ?? 0, message })
  }
  return found
}

/** A shortest way from `start` back to itself, both ends named, or `null`. */
function wayRound(
  edges: ReadonlyMap<string, ReadonlyMap<string, number>>,
  start: string,
): string[] | null {
  const ways: string[][] = [[start]]
  const seen = new Set<string>()
  for (let way = ways.shift(); way !== undefined; way = ways.shift()) {
    for (const next of edges.get(way.at(-1) ?? start)?.keys() ?? []) {
      if (next === start) return [...way, start]
      if (seen.has(next)) continue
      seen.add(next)
      ways.push([...way, next])
    }
  }
  return null
}

function main(): void {
  const paths = globSync('{src,tests,bench,scripts,examples}/**/*.ts').sort()
  const tree = new Map(paths.map(path => [path, readFileSync(path, 'utf8')]))
  const violations = check(tree)
  for (const { file, at, message } of violations) {
    console.log(`${file}:${placeOf(tree.get(file) ?? '', at)} ${message}`)
  }
  if (violations.length > 0) process.exitCode = 1
}

if (import.meta.main) main()
