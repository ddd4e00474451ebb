FROM node:24-slim
WORKDIR /app
COPY . .
RUN npx --yes pnpm@10.34.9 install --frozen-lockfile --prod
# The user of the server may not write in /app. Mount a volume here to keep the default database.
RUN mkdir -m 700 /data && chown node:node /data
VOLUME /data
ENV DATABASE_URL=sqlite:/data/dowell-chat.db
# Others reach a container: without an API key it lets nobody in.
ENV NODE_ENV=production
USER node
EXPOSE 3000
# What npm start runs once it has installed.
CMD ["node", "apps/server/src/main.ts"]
