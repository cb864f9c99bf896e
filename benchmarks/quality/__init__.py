"""The quality table: error of every method on images of molecules that nothing was trained on."""
