# The worker: builds environments, runs scripts, streams their logs.
# Build from the repository's root: docker build -f deploy/docker/worker.Dockerfile -t kirby-worker .
FROM python:3.13-slim-trixie AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY requirements.lock ./
COPY libs ./libs
COPY services/worker ./services/worker
# The lock pins every dependency with its hash; only the packages of this service are built here.
RUN uv venv /opt/kirby \
 && uv pip install --python /opt/kirby/bin/python --no-cache --constraints requirements.lock --build-constraints requirements.lock \
    ./libs/kirby_common ./libs/kirby ./services/worker

FROM python:3.13-slim-trixie
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/kirby kirby
COPY --from=build /opt/kirby /opt/kirby
ENV PATH=/opt/kirby/bin:$PATH PYTHONUNBUFFERED=1
USER kirby
WORKDIR /var/lib/kirby
EXPOSE 8085
ENTRYPOINT ["kirby"]
CMD ["worker"]
