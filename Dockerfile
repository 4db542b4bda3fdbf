# Images of raftkv on Debian 13; `./dev image` builds them. Targets: node, operator, ctl (and build, which only
# compiles). Nothing in them needs a shell, root, or a writable root file system.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
WORKDIR /src
# cpp-httplib from backports, because of its security fixes; the list of packages is in ./dev.
COPY dev /src/dev
RUN uri=$(apt-get update -q >/dev/null && apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: trixie' | head -n 1) \
 && echo "deb $uri trixie-backports main" > /etc/apt/sources.list.d/backports.list \
 && printf 'Package: libcpp-httplib*\nPin: release n=trixie-backports\nPin-Priority: 990\n' > /etc/apt/preferences.d/backports \
 && ./dev install \
 && rm -rf /var/lib/apt/lists/*
COPY . /src
# The compiler's cache outlives the layer, which any change of a source makes anew.
RUN --mount=type=cache,target=/root/.cache/ccache ./dev build raftkv-node raftkv-operator raftkvctl
# What the programs need at run time: the packages of the libraries that they are linked with.
RUN for program in raftkv-node raftkv-operator raftkvctl; do \
      ldd build/bin/$program | awk '/=> \// { print $3 }' | xargs -n 1 realpath \
        | xargs -n 1 dpkg-query -S | cut -d: -f1 | sort -u > build/$program.packages; \
    done

# The packages come from the same archive as in the build stage.
FROM ${BASE} AS runtime
COPY --from=build /etc/apt/sources.list.d/backports.list /etc/apt/sources.list.d/backports.list
COPY --from=build /etc/apt/preferences.d/backports /etc/apt/preferences.d/backports
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin raftkv \
 && mkdir /data && chown 10001:10001 /data

FROM runtime AS node
COPY --from=build /src/build/raftkv-node.packages /tmp/packages
RUN apt-get update -q && xargs apt-get install -q -y --no-install-recommends < /tmp/packages \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /tmp/packages
COPY --from=build /src/build/bin/raftkv-node /usr/bin/raftkv-node
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="raftkv-node" \
      org.opencontainers.image.description="One member of a replicated key-value store" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
USER 10001:10001
ENV RAFTKV_DATA_DIR=/data
VOLUME /data
EXPOSE 7070 7071 7072 7073
ENTRYPOINT ["/usr/bin/raftkv-node"]

FROM runtime AS operator
COPY --from=build /src/build/raftkv-operator.packages /tmp/packages
RUN apt-get update -q && xargs apt-get install -q -y --no-install-recommends < /tmp/packages \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /tmp/packages
COPY --from=build /src/build/bin/raftkv-operator /usr/bin/raftkv-operator
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="raftkv-operator" \
      org.opencontainers.image.description="Runs raftkv clusters on Kubernetes" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
USER 10001:10001
EXPOSE 8081
ENTRYPOINT ["/usr/bin/raftkv-operator"]

FROM runtime AS ctl
COPY --from=build /src/build/raftkvctl.packages /tmp/packages
RUN apt-get update -q && xargs apt-get install -q -y --no-install-recommends < /tmp/packages \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /tmp/packages
COPY --from=build /src/build/bin/raftkvctl /usr/bin/raftkvctl
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="raftkvctl" \
      org.opencontainers.image.description="Command line client of raftkv" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
USER 10001:10001
ENTRYPOINT ["/usr/bin/raftkvctl"]
