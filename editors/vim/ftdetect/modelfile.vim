autocmd BufNewFile,BufRead Modelfile,*.Modelfile,*.modelfile setfiletype modelfile
autocmd BufNewFile,BufRead Modelfile.*,Modelfile-* if expand("<afile>:e") !~# '^\(lock\|md\)$' | setfiletype modelfile | endif
