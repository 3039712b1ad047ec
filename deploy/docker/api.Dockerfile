# The api: REST and web UI (--role web), worker endpoint and recorder (--role ledger).
# Build from the repository's root: docker build -f deploy/docker/api.Dockerfile -t kirby-api .
FROM node:24-trixie-slim AS web
WORKDIR /src
COPY .npmrc ./
COPY web ./web
# Vite writes to services/api/src/kirby_api/static.
RUN npm --prefix web ci && npm --prefix web run build

FROM python:3.13-slim-trixie AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY requirements.lock ./
COPY libs ./libs
COPY services/api ./services/api
COPY examples ./examples
COPY --from=web /src/services/api/src/kirby_api/static ./services/api/src/kirby_api/static
# The lock pins every dependency with its hash; only the packages of this service are built here.
RUN uv venv /opt/kirby \
 && uv pip install --python /opt/kirby/bin/python --no-cache --constraints requirements.lock --build-constraints requirements.lock \
    ./libs/kirby_common ./libs/kirby ./services/api \
 && uv build --no-cache --wheel --build-constraints requirements.lock --out-dir /opt/kirby/wheels ./libs/kirby

FROM python:3.13-slim-trixie
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/kirby kirby
COPY --from=build /opt/kirby /opt/kirby
ENV PATH=/opt/kirby/bin:$PATH PYTHONUNBUFFERED=1
USER kirby
WORKDIR /var/lib/kirby
EXPOSE 8080 8081
ENTRYPOINT ["kirby"]
CMD ["api", "--role", "web", "--host", "0.0.0.0"]
