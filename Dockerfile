# CPU image: `docker build -t groupdistil .`, then
# `docker run --rm -v /scans:/scans:ro -v /out:/out groupdistil ingest /scans --out /out/cohort`.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/groupdistil
# libtorch first: it changes rarely, and is by far the largest layer.
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY xtask xtask
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
 && cargo xtask setup --cpu && rm -rf src .setup/venv
COPY src src
COPY pipelines pipelines
RUN cargo build --release --locked

FROM debian:bookworm-slim
# The binary's rpath names this folder; the venv and the headers stay behind.
COPY --from=build /opt/groupdistil/.setup/libtorch-cpu/lib /opt/groupdistil/.setup/libtorch/lib
COPY --from=build /opt/groupdistil/target/release/groupdistil /usr/local/bin/groupdistil
COPY --from=build /opt/groupdistil/pipelines /opt/groupdistil/pipelines
RUN useradd --create-home --uid 10001 groupdistil && groupdistil doctor
USER groupdistil
WORKDIR /home/groupdistil
ENTRYPOINT ["groupdistil"]
