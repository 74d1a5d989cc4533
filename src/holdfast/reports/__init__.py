"""What people read on paper and in a browser: one document model, HTML that needs nothing else, PDF, charts, seals.

`document` is the model; `page` writes it as HTML, `pdf` as PDF; `charts` draws; `seal` signs a page and proves one offline.
"""
