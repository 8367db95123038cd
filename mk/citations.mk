# Sections of RFCs that the IKE code cites, and the tests that cite them: writes the table in docs/compliance.md, fails while one has no test.
.PHONY: citations
citations:
	@$(CARGO) run --quiet -p ike --example citations
