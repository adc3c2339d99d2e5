import * as v from 'valibot'
import { defineTransport, type Transport } from '../../contract/transport.ts'
import { dial } from '../../net/dial.ts'
import { listen } from '../../net/listen.ts'

/** TCP or a UNIX socket with nothing in between. */
export const raw: Transport = defineTransport({
  type: 'raw',
  aliases: ['tcp'],
  options: v.strictObject({}),
  create: (_options, network) => ({
    listen: (owner, where, handlers) => listen(network, owner, where, handlers),
    dial: (owner, target, options) => dial(network, owner, target, options),
  }),
})
