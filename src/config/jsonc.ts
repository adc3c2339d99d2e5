import type { Node } from 'jsonc-parser'
import type { Path, Place, Problems } from './problems.ts'
import { parseSyntax } from './syntax.ts'
import { quoted } from './words.ts'

/** Where a path leads to in the text. */
export interface Spot {
  /** The deepest value on the way that is written; of an object or list only the opening bracket. */
  readonly value: Place
  /** The last key of the path, if all of the path is written and ends in a key. */
  readonly key: Place | null
  /** What of the path is not written. */
  readonly rest: Path
}

/** How an object or list is reached; the root stands in nothing. */
interface Step {
  readonly above: object | undefined
  readonly key: string | number
}

/** A configuration as a plain value, and where each part of it stands. */
export class ConfigTree {
  /**
   * Objects have no prototype; a key that occurs twice has its first value; keys that could reach a
   * prototype are left out.
   */
  readonly value: unknown
  readonly #root: Node
  readonly #steps: ReadonlyMap<object, Step>
  /** The properties of large objects by key, made when somebody asks. */
  readonly #indexes: Map<Node, ReadonlyMap<string, Node>> = new Map()

  constructor(root: Node, value: unknown, steps: ReadonlyMap<object, Step>) {
    this.#root = root
    this.value = value
    this.#steps = steps
  }

  find(path: Path): Spot {
    let node = this.#root
    let key: Node | null = null
    for (const [index, step] of path.entries()) {
      const child = this.#childOf(node, step)
      if (child === null) return { value: placeOf(node), key: null, rest: path.slice(index) }
      key = child.key
      node = child.value
    }
    return { value: placeOf(node), key: key === null ? null : placeOf(key), rest: [] }
  }

  /** The path of an object or list inside `value`; `null` for any other object. */
  pathOf(value: object): Path | null {
    let step = this.#steps.get(value)
    if (step === undefined) return null
    const path: (string | number)[] = []
    while (step?.above !== undefined) {
      path.unshift(step.key)
      step = this.#steps.get(step.above)
    }
    return path
  }

  #childOf(node: Node, step: string | number): { key: Node | null; value: Node } | null {
    if (typeof step === 'number') {
      const value = node.type === 'array' ? node.children?.[step] : undefined
      return value === undefined ? null : { key: null, value }
    }
    const [key, value] = this.#property(node, step)?.children ?? []
    return key === undefined || value === undefined ? null : { key, value }
  }

  #property(node: Node, key: string): Node | undefined {
    if (node.type !== 'object') return undefined
    const properties = node.children ?? []
    if (properties.length < indexedFrom) return properties.find(one => keyText(one) === key)
    const known = this.#indexes.get(node)
    // Backwards, so that of a key that occurs twice the first one stays.
    const index = known ?? new Map(properties.toReversed().map(one => [keyText(one), one]))
    this.#indexes.set(node, index)
    return index.get(key)
  }

  /** The value at a path, or `undefined`. */
  at(path: Path): unknown {
    let value = this.value
    for (const step of path) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) {
        return undefined
      }
      value = (value as Record<string | number, unknown>)[step]
    }
    return value
  }
}

/**
 * Reads JSON as Xray does, with comments, and with trailing commas. All syntax errors are told, and
 * then there is no tree; keys that occur twice or could reach a prototype are told beside a tree.
 */
export function readJsonc(problems: Problems): ConfigTree | null {
  const root = parseSyntax(problems)
  if (root === null) return null
  const builder = new ValueBuilder(problems)
  const value = builder.build(root, undefined)
  return new ConfigTree(root, value, builder.steps)
}

const indexedFrom = 32
const forbiddenKeys: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** Turns nodes into values; recursion is safe because the reader bounds the depth first. */
class ValueBuilder {
  readonly steps: Map<object, Step> = new Map()
  readonly #problems: Problems
  readonly #path: (string | number)[] = []

  constructor(problems: Problems) {
    this.#problems = problems
  }

  /** `above` is the object or list that `node` stands in. */
  build(node: Node, above: object | undefined): unknown {
    switch (node.type) {
      case 'object':
        return this.#object(node, above)
      case 'array':
        return this.#list(node, above)
      case 'number':
        return this.#number(node)
      default:
        return node.value
    }
  }

  #object(node: Node, above: object | undefined): object {
    const value: Record<string, unknown> = { __proto__: null }
    this.steps.set(value, { above, key: this.#path.at(-1) ?? '' })
    const first = new Map<string, Node>()
    for (const property of node.children ?? []) {
      const [key, inner] = property.children ?? []
      if (key === undefined || inner === undefined) continue
      const name = keyText(property)
      const earlier = first.get(name)
      this.#path.push(name)
      if (earlier !== undefined) this.#tellDuplicate(key, earlier, name)
      else if (forbiddenKeys.has(name)) this.#tell(key, `unknown key "${name}"`)
      else value[name] = this.build(inner, value)
      this.#path.pop()
      if (earlier === undefined) first.set(name, key)
    }
    return value
  }

  #list(node: Node, above: object | undefined): unknown[] {
    const value: unknown[] = []
    this.steps.set(value, { above, key: this.#path.at(-1) ?? '' })
    for (const [index, item] of (node.children ?? []).entries()) {
      this.#path.push(index)
      value.push(this.build(item, value))
      this.#path.pop()
    }
    return value
  }

  #number(node: Node): number {
    const value: unknown = node.value
    if (typeof value === 'number' && Number.isFinite(value)) return value
    this.#tell(node, 'this number is too large')
    return 0
  }

  #tellDuplicate(key: Node, earlier: Node, name: string): void {
    const line = String(this.#problems.source.positionOf(earlier.offset).line)
    this.#tell(key, `the key ${quoted(name)} stands here again, first on line ${line}`)
  }

  #tell(node: Node, message: string): void {
    this.#problems.error(placeOf(node), [...this.#path], message)
  }
}

function keyText(property: Node): string {
  const name: unknown = property.children?.[0]?.value
  return typeof name === 'string' ? name : ''
}

function placeOf(node: Node): Place {
  const isContainer = node.type === 'object' || node.type === 'array'
  return { offset: node.offset, end: node.offset + (isContainer ? 1 : node.length) }
}
