# The image of bids_refacer. PyTorch's CPU build comes from PyTorch's own index, which pip has to be told of:
#
#   docker build --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's CPU index> -t bids_refacer .
#   docker build --build-arg TORCH_BUILD= -t bids_refacer:cuda .         # for GPUs: the build that pip finds by itself
#
# docs/containers.md says how to run it. External tools with licences of their own: containers/licensed-tools.Dockerfile
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-pip python3-venv
# pip's own variables: an ARG that is not given stays unset
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv --without-pip /opt/bids_refacer

# what the app needs changes less often than the app: a layer of its own, without headers and tests that no run reads
WORKDIR /src
COPY pyproject.toml constraints.txt ./
ENV PIP_CONSTRAINT=/src/constraints.txt
ARG TORCH_BUILD=cpu
RUN python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      > requirements.txt \
 && torch="$(grep '^torch==' constraints.txt)${TORCH_BUILD:++${TORCH_BUILD}}" \
 && if ! python3 -m pip --python /opt/bids_refacer/bin/python install -r requirements.txt "$torch"; then \
      echo "pip could not install $torch and the rest, see above. Builds other than the default are in PyTorch's own" \
           "index: give it as --build-arg PIP_EXTRA_INDEX_URL=..., or use --build-arg TORCH_BUILD= (CUDA, large)." >&2; \
      exit 1; \
    fi \
 && cd /opt/bids_refacer/lib/python3.*/site-packages \
 && rm -rf torch/include torch/test torch/bin/test_* torch/bin/protoc* torch/share/cmake torch/lib/*.a \
 && for package in bids networkx nibabel nipype numpy pandas scipy skimage sympy traits; do \
      find "$package" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +; \
    done
COPY . .
RUN python3 -m pip --python /opt/bids_refacer/bin/python install --no-deps . \
 && mkdir /opt/bids_refacer/share/bids_refacer \
 && python3 -m pip --python /opt/bids_refacer/bin/python freeze > /opt/bids_refacer/share/bids_refacer/python-packages.txt \
 && cp LICENSE NOTICE /opt/bids_refacer/share/bids_refacer/

FROM ${BASE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
 && useradd --uid 1000 --user-group --no-create-home --home-dir /nonexistent bids_refacer
COPY --from=build /opt/bids_refacer /opt/bids_refacer
# login shells, as bosh starts them in Apptainer, forget the PATH of the image
RUN dpkg-query --show > /opt/bids_refacer/share/bids_refacer/debian-packages.txt \
 && echo 'PATH=/opt/bids_refacer/bin:$PATH' > /etc/profile.d/bids_refacer.sh
# PYTHONNOUSERSITE: Apptainer shows the home of its user, whose Python packages must not be mixed with these
ENV PATH=/opt/bids_refacer/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONNOUSERSITE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# last, as every commit changes it and each layer after it
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="bids_refacer" \
      org.opencontainers.image.description="BIDS app that audits defacing: how much of the face comes back, and how much science was lost" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0 AND CC-BY-SA-3.0 AND CC0-1.0 AND MIT" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
# the app adds its version, as the image's tag, where it records the container
ENV BIDS_REFACER_DOCKER_TAG=bids_refacer
USER 1000:1000
WORKDIR /
ENTRYPOINT ["bids_refacer"]
CMD ["--help"]
