import { createOpenApiDocument } from '@dowell-chat/api'
import express, { type Router } from 'express'
import { absolutePath } from 'swagger-ui-dist'
import { onlyMethods } from './staticRoutes.ts'

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Dowell Chat API</title>
    <link rel="stylesheet" href="/docs/assets/swagger-ui.css">
    <link rel="icon" type="image/png" href="/docs/assets/favicon-32x32.png">
  </head>
  <body>
    <div id="page"></div>
    <script src="/docs/assets/swagger-ui-bundle.js"></script>
    <script src="/docs/page.js"></script>
  </body>
</html>
`

const SCRIPT = `SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#page',
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  // The list of schemas is long, and each operation shows those that it uses.
  defaultModelsExpandDepth: 0,
  // No badge from an outside validator.
  validatorUrl: null,
})
`

/** The files of Swagger UI that the page uses. */
const ASSETS = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png']

/** Everything comes from this server. Swagger UI draws its icons from data: URLs. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** The OpenAPI documents, and a page (Swagger UI) that shows them and can send their requests. */
export function docs(): Router {
  const router = express.Router()
  const documents = { '/openapi.json': '3.1.0', '/openapi-3.0.json': '3.0.3' } as const
  for (const [path, version] of Object.entries(documents)) {
    // Built at the first request: it takes 70 ms of CPU, and more in a new process.
    let body: string | undefined
    router.get(path, (_req, res) => {
      body ??= `${JSON.stringify(createOpenApiDocument(version), null, 2)}\n`
      res.type('application/json').send(body)
    })
  }
  router.get('/', (_req, res) => {
    res.redirect('/docs')
  })
  router.get('/docs', (_req, res) => {
    res.setHeader('Content-Security-Policy', POLICY)
    res.type('html').send(PAGE)
  })
  router.get('/docs/page.js', (_req, res) => {
    res.type('text/javascript').send(SCRIPT)
  })
  for (const file of ASSETS) {
    router.get(`/docs/assets/${file}`, (_req, res) => {
      res.sendFile(file, { root: absolutePath(), maxAge: '1d', acceptRanges: false })
    })
  }
  const assets = ASSETS.map((file) => `/docs/assets/${file}`)
  router.all(
    [...Object.keys(documents), '/', '/docs', '/docs/page.js', ...assets],
    onlyMethods('GET'),
  )
  return router
}
