"""What the files of each format hold besides what libvips reads and writes; bytes in, bytes out."""
