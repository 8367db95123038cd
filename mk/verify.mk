# Everything that continuous integration plays, whole: tests, lints, every event, history, peer and measurement. Some two hours.
.PHONY: verify
verify:
	@scripts/acceptance.sh whole
