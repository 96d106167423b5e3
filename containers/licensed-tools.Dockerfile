# Recipe, NOT VERIFIED: none of these programs could be had where this project is built and tested. Read each licence
# first; leave out what you may not use. Put beside this file what you downloaded from the tools' own sites:
#   fsl/            an installation of FSL (non-commercial licence), made with its installer
#   freesurfer/     FreeSurfer 7.3 or newer but not 7.4.0 (mideface); for mri_deface, its two .gca files as well
#   afni/           AFNI's binaries, with afni_refacer_shell_* and the MNI152_2009_template_SSW template
# and build:   docker build -f licensed-tools.Dockerfile -t bids_refacer:licensed .
# FreeSurfer's licence file is given at run time: -v /path/license.txt:/license.txt:ro -e FS_LICENSE=/license.txt
ARG IMAGE=bids_refacer:latest
FROM ${IMAGE}
USER 0
# tcsh runs mideface and @afni_refacer_run; the libraries are what the binaries ask for
RUN apt-get update \
 && apt-get install --yes --no-install-recommends bc libgl1 libglu1-mesa libgomp1 libxm4 libxmu6 libxt6 perl tcsh \
 && rm -rf /var/lib/apt/lists/*
COPY fsl /opt/fsl
COPY freesurfer /opt/freesurfer
COPY afni /opt/afni
ENV FSLDIR=/opt/fsl FSLOUTPUTTYPE=NIFTI_GZ FREESURFER_HOME=/opt/freesurfer \
    PATH=/opt/bids_refacer/bin:/opt/fsl/bin:/opt/freesurfer/bin:/opt/afni:/usr/local/bin:/usr/bin:/bin
USER 1000:1000
