"""The page of pictures that `denoise --report` leaves."""
