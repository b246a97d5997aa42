"""An evaluation as one HTML page: charts, case figures, page."""
