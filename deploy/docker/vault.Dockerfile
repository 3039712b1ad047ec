# The vault: secrets with envelope encryption and access lists.
# Build from the repository's root: docker build -f deploy/docker/vault.Dockerfile -t kirby-vault .
FROM python:3.13-slim-trixie AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY requirements.lock ./
COPY libs ./libs
COPY services/vault ./services/vault
# The lock pins every dependency with its hash; only the packages of this service are built here.
RUN uv venv /opt/kirby \
 && uv pip install --python /opt/kirby/bin/python --no-cache --constraints requirements.lock --build-constraints requirements.lock \
    ./libs/kirby_common ./libs/kirby ./services/vault

FROM python:3.13-slim-trixie
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/kirby kirby
COPY --from=build /opt/kirby /opt/kirby
ENV PATH=/opt/kirby/bin:$PATH PYTHONUNBUFFERED=1
USER kirby
WORKDIR /var/lib/kirby
EXPOSE 8082
ENTRYPOINT ["kirby"]
CMD ["vault", "--host", "0.0.0.0"]
