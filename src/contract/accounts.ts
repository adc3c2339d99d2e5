import { createHash, timingSafeEqual } from 'node:crypto'
import * as v from 'valibot'
import { list, strictObject } from '../config/schema.ts'

export interface Account {
  readonly user: string
  readonly pass: string
}

const text = v.string('must be text')

/** A list of `{"user": …, "pass": …}`, as several inbounds have it. */
export function accountList(): v.GenericSchema<unknown, Account[]> {
  return list(
    strictObject({
      user: v.pipe(text, v.minLength(1, 'must not be empty'), v.maxLength(255, 'is too long')),
      pass: v.pipe(text, v.maxLength(255, 'is too long')),
    }),
  )
}

/** Users with passwords. A comparison takes the same time for a wrong user and a wrong password. */
export class Accounts {
  readonly #hashes = new Map<string, Buffer>()
  readonly #nobody = hash('')

  constructor(list: readonly Account[]) {
    for (const { user, pass } of list) this.#hashes.set(user, hash(pass))
  }
  get isEmpty(): boolean {
    return this.#hashes.size === 0
  }
  isRight(user: string, pass: string): boolean {
    const known = this.#hashes.get(user)
    const isEqual = timingSafeEqual(hash(pass), known ?? this.#nobody)
    return isEqual && known !== undefined
  }
}

function hash(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
