// Serves a page with a live room.
// Start the server (npm start), then run: npx tsx examples/page/serve.ts [url] [port]
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const [url = process.env.DOWELL_CHAT_URL ?? 'http://127.0.0.1:3000', port = '4000'] =
  process.argv.slice(2)
const pathOf = (name: string) => fileURLToPath(new URL(name, import.meta.url))

const { outputFiles } = await build({
  entryPoints: [pathOf('main.js')],
  bundle: true,
  write: false,
  format: 'esm',
  define: { SERVER_URL: JSON.stringify(url) },
})
const files: Record<string, { type: string; content: Uint8Array | undefined }> = {
  '/': { type: 'text/html', content: await readFile(pathOf('index.html')) },
  '/main.js': { type: 'text/javascript', content: outputFiles[0]?.contents },
}

const server = createServer((req, res) => {
  const file = files[new URL(req.url ?? '/', 'http://localhost').pathname]
  res.writeHead(file ? 200 : 404, {
    'Content-Type': `${file?.type ?? 'text/plain'}; charset=utf-8`,
  })
  res.end(file?.content)
})
server.listen(Number(port), '127.0.0.1', () => {
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  console.log(`The customer: ${address}`)
  console.log(`The support team: ${address}/?side=support`)
})
