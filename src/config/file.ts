import { isUtf8 } from 'node:buffer'
import { type FileHandle, open } from 'node:fs/promises'
import { type Bytes, concat } from '../bytes/bytes.ts'
import { configInvalid } from './diagnostics.ts'
import { limits } from './limits.ts'
import { fileDiagnostic, Problems } from './problems.ts'
import { bytesMaxText } from './syntax.ts'
import { SourceText } from './text.ts'

const systemTexts: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file, a part of the path is no directory',
  EACCES: 'this file may not be read by the user Sluice runs as',
  EPERM: 'this file may not be read by the user Sluice runs as',
  EISDIR: 'this is a directory, not a file',
  ELOOP: 'symbolic links lead in a circle',
  ENAMETOOLONG: 'this name is too long for a file',
}

/** The text of a configuration file. Throws `config.invalid` with a diagnostic about the file. */
export async function readConfigFile(path: string): Promise<string> {
  const bytes = await readBytes(path)
  if (bytes === null) throw refused(path, `the configuration is larger than ${bytesMaxText}`)
  if (isUtf8(bytes)) return new TextDecoder('utf-8').decode(bytes)
  throw notUtf8(path, bytes)
}

/** At most `limits.bytesMax` bytes, else `null`; also of a pipe, whose size nobody knows. */
async function readBytes(path: string): Promise<Bytes | null> {
  try {
    await using file = await open(path, 'r')
    return await readBounded(file)
  } catch (thrown) {
    throw refused(path, systemText(thrown))
  }
}

const chunkBytes = 65_536

async function readBounded(file: FileHandle): Promise<Bytes | null> {
  const parts: Bytes[] = []
  let size = 0
  for (;;) {
    const { bytesRead, buffer } = await file.read(new Uint8Array(chunkBytes), 0, chunkBytes)
    if (bytesRead === 0) return concat(parts)
    size += bytesRead
    if (size > limits.bytesMax) return null
    parts.push(buffer.slice(0, bytesRead))
  }
}

function systemText(thrown: unknown): string {
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown error'
  return systemTexts[code] ?? `this file cannot be read (${code})`
}

function refused(path: string, message: string, hint?: string): Error {
  return configInvalid([fileDiagnostic(path, message, 'error', hint)])
}

/** Windows tools like to write UTF-16; anything else is shown at the first strange character. */
function notUtf8(path: string, bytes: Bytes): Error {
  const [first, second] = bytes
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    return refused(path, 'this file is UTF-16, it must be saved as UTF-8')
  }
  const problems = new Problems(new SourceText(path, new TextDecoder('utf-8').decode(bytes)))
  const offset = Math.max(0, problems.source.text.indexOf('\ufffd'))
  problems.error({ offset, end: offset + 1 }, [], 'this file is not UTF-8 from here on')
  return configInvalid(problems.diagnostics())
}
